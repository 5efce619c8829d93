# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# debian.sh - Debian packages downloaded and unpacked without being installed. To be sourced.
#
#	apt_private DIR SUITE	apt's state is DIR from now on, empty, and its only source SUITE, component
#				main, of the mirror that this machine's apt is configured with, with
#				the same keyring and proxies
#	apt TOOL ARG...		run apt-get or apt-cache on it; packages go to DIR/archives
#	apt_unpack TREE		unpack all of DIR/archives into the directory TREE
#
# apt's state on the machine is neither used nor changed, and root is not needed. The one who sources
# this has die(), and may hold a lock on descriptor 9, which is not handed on.

# Each prints the first entry of the apt sources file $1 for this Debian release, and of a repository
# whose URI matches $2, with $suite in place of the release: mirror, keyring and options stay.
one_line_entry() {
	awk -v release="^($release|stable|oldstable)\$" -v uri="$2" -v suite="$suite" '
		$1 != "deb" { next }
		{
			sub(/#.*/, "")
			options = ""
			if (match($0, /\[[^]]*\]/)) {
				options = substr($0, RSTART + 1, RLENGTH - 2)
				$0 = substr($0, 1, RSTART - 1) substr($0, RSTART + RLENGTH)
			}
			if ($3 !~ release || $2 !~ uri)
				next
			for (i = 4; i <= NF; i++)
				if ($i == "main") {
					print "deb [" options " target=Packages]", $2, suite, "main"
					exit
				}
		}' "$1"
}
deb822_entry() {
	awk -v release="(^| )($release|stable|oldstable)( |\$)" -v uri="$2" -v suite="$suite" '
		function finish(  i, n, u, hit) {
			n = split(value["uris"], u, " ")
			for (i = 1; i <= n; i++)
				hit = hit || u[i] ~ uri
			if (hit && value["suites"] ~ release && (" " value["types"] " ") ~ / deb / &&
			    (" " value["components"] " ") ~ / main / &&
			    tolower(value["enabled"]) !~ /^ *(no|false|off|without|disable|0)$/) {
				printf "Types: deb\nURIs:%s\nSuites: %s\nComponents: main\n",
					value["uris"], suite
				printf "Targets: Packages\n%s", rest
				done = 1
				exit
			}
			rest = key = ""
			split("", value)
		}
		/^#/ { next }
		/^[[:space:]]*$/ { finish(); next }
		/^[^[:space:]]/ {
			key = tolower(substr($0, 1, index($0, ":") - 1))
			keep = key !~ /^(types|uris|suites|components|targets|enabled)$/
			line = substr($0, index($0, ":") + 1)
		}
		/^[[:space:]]/ { line = $0 }
		{
			gsub(/[[:space:]]+/, " ", line)
			value[key] = value[key] " " line
			if (keep)
				rest = rest $0 "\n"
		}
		END { if (!done) finish() }' "$1"
}

apt_private() {
	local suite=$2 arch release etc uri file
	apt=$1
	arch=$(dpkg --print-architecture)
	# shellcheck source=/dev/null
	release=$(. /etc/os-release && echo "${VERSION_CODENAME:?}")
	mkdir -p "$apt"/{lists/partial,archives/partial,sources}
	: >"$apt/status"
	etc=$(apt-config shell etc Dir::Etc/d)
	eval "$etc"
	for uri in '/debian/?$' .; do
		for file in "${etc%/}"/sources.list "${etc%/}"/sources.list.d/*; do
			[ -f "$file" ] || continue
			case $file in
			*.list)	  one_line_entry "$file" "$uri" >"$apt/sources/debian.list" ;;
			*.sources) deb822_entry "$file" "$uri" >"$apt/sources/debian.sources" ;;
			*)	  continue ;;
			esac
			find "$apt/sources" -size +0 | grep -q '/debian\.' && break 2
		done
	done
	find "$apt/sources" -type f -size 0 -delete
	[ -n "$(ls "$apt/sources")" ] || die "apt has no source of Debian $release with component main"

	cat >"$apt/apt.conf" <<-EOF
	#clear APT::Architectures;
	#clear APT::Update::Pre-Invoke;
	#clear APT::Update::Post-Invoke;
	#clear APT::Update::Post-Invoke-Success;
	#clear DPkg::Pre-Invoke;
	#clear DPkg::Post-Invoke;
	#clear DPkg::Pre-Install-Pkgs;
	APT::Architectures { "$arch"; };
	APT::Default-Release "";
	APT::Sandbox::User "";
	APT::Install-Recommends "false";
	APT::Install-Suggests "false";
	Acquire::Languages "none";
	Acquire::Retries "3";
	Acquire::PDiffs "false";
	Dir::Etc::SourceList "/dev/null";
	Dir::Etc::SourceParts "$apt/sources";
	Dir::Etc::Preferences "/dev/null";
	Dir::Etc::PreferencesParts "/dev/null";
	Dir::State "$apt";
	Dir::State::Lists "$apt/lists";
	Dir::State::Status "$apt/status";
	Dir::State::extended_states "$apt/extended_states";
	Dir::Cache "$apt";
	Dir::Cache::Archives "$apt/archives";
	Dir::Cache::pkgcache "";
	Dir::Cache::srcpkgcache "";
	Debug::NoLocking "true";
	EOF
}

# All that it says goes to a log, shown if it fails.
apt() {
	local tool=$1
	shift
	"$tool" -c "$apt/apt.conf" -q "$@" 9>&- 2>>"$apt/log" ||
		{ cat "$apt/log" >&2; die "$tool $1 failed"; }
}

apt_unpack() {
	local deb link
	mkdir -p "$1"
	# base-files has the links of /bin, /lib and so on into /usr, so it comes first.
	for deb in "$apt"/archives/base-files_*.deb "$apt"/archives/*.deb; do
		[ ! -e "$deb" ] || dpkg-deb -x "$deb" "$1" || die "cannot unpack $deb"
	done
	rm -rf "$1/usr/share"/{doc,man,info,locale}
	# Both within a chroot and from outside it, paths must lead to this tree.
	find "$1" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
		ln -sfn "$(realpath -m -s --relative-to="$(dirname "$link")" "$1$(readlink "$link")")" "$link"
	done
}
