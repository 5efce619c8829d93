// SPDX-License-Identifier: GPL-2.0

// quic - a server and a client of HTTP/3 with quic-go, for a test of unmodified programs.
//
//	quic serve ADDRESS DIRECTORY
//	quic fetch REQUESTS PARALLEL URL
//
// fetch gets URL so often over one connection, and prints how many times it got what: "COUNT SHA-256".
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/lucas-clemente/quic-go/http3"
)

func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-24 * time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func serve(address, dir string) error {
	cert, err := certificate()
	if err != nil {
		return err
	}
	server := http3.Server{
		Addr:      address,
		Handler:   http.FileServer(http.Dir(dir)),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
	}
	return server.ListenAndServe()
}

func fetch(client *http.Client, url string) (string, error) {
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, response.Body); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 3 {
		return "", fmt.Errorf("%s, %s", response.Proto, response.Status)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}

func main() {
	log.SetFlags(0)
	switch {
	case len(os.Args) == 4 && os.Args[1] == "serve":
		log.Fatal(serve(os.Args[2], os.Args[3]))
	case len(os.Args) == 5 && os.Args[1] == "fetch":
		requests, _ := strconv.Atoi(os.Args[2])
		parallel, _ := strconv.Atoi(os.Args[3])
		// The certificate is nobody's in particular.
		client := &http.Client{Transport: &http3.RoundTripper{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}}
		var wg sync.WaitGroup
		var lock sync.Mutex
		got := map[string]int{}
		todo := make(chan bool, requests)
		for i := 0; i < requests; i++ {
			todo <- true
		}
		close(todo)
		for i := 0; i < parallel; i++ {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for range todo {
					sum, err := fetch(client, os.Args[4])
					if err != nil {
						log.Fatal(err)
					}
					lock.Lock()
					got[sum]++
					lock.Unlock()
				}
			}()
		}
		wg.Wait()
		for sum, n := range got {
			fmt.Println(n, sum)
		}
	default:
		log.Fatal("quic: see quic.go")
	}
}
