// SPDX-License-Identifier: GPL-2.0

// web - a server and a client with Go's net/http, for a test of unmodified programs.
//
//	web serve ADDRESS DIRECTORY
//	web fetch REQUESTS PARALLEL keep|close URL
//
// serve answers to POST with the SHA-256 of what came, and has the files of the directory.
// fetch gets URL so often, posts what it has got to the same server, and prints how many times it
// got what: "COUNT SHA-256" for what it received, when the server has seen the same.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
)

func serve(address, dir string) error {
	files := http.FileServer(http.Dir(dir))
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			files.ServeHTTP(w, r)
			return
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%x", hash.Sum(nil))
	}))
}

func body(response *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s", response.Status)
	}
	return io.ReadAll(response.Body)
}

func fetch(client *http.Client, url string) (string, error) {
	got, err := body(client.Get(url))
	if err != nil {
		return "", err
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(got))
	there, err := body(client.Post(url, "application/octet-stream", bytes.NewReader(got)))
	if err != nil {
		return "", err
	}
	if string(there) != sum {
		return "", fmt.Errorf("posted %s, the server has %s", sum, there)
	}
	return sum, nil
}

func main() {
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		log.Fatal(serve(os.Args[2], os.Args[3]))
	case len(os.Args) == 6 && os.Args[1] == "fetch":
	default:
		log.Fatal("usage: see web.go")
	}
	requests, _ := strconv.Atoi(os.Args[2])
	parallel, _ := strconv.Atoi(os.Args[3])
	client := &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: parallel,
		DisableKeepAlives:   os.Args[4] == "close",
	}}
	todo := make(chan bool, requests)
	for i := 0; i < requests; i++ {
		todo <- true
	}
	close(todo)
	var all sync.WaitGroup
	var lock sync.Mutex
	sums := map[string]int{}
	for i := 0; i < parallel; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for range todo {
				sum, err := fetch(client, os.Args[5])
				if err != nil {
					log.Fatal(err)
				}
				lock.Lock()
				sums[sum]++
				lock.Unlock()
			}
		}()
	}
	all.Wait()
	for sum, count := range sums {
		fmt.Println(count, sum)
	}
}
