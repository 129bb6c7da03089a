#!/bin/sh
# Start a data plane on this machine and join it to its control plane.
#
# Served by the control plane at /runtime-setup.sh. What it does, in order: fetch the control plane's CA certificate and compare its
# fingerprint; sign in (or take a token) for a one-time enrolment token; start the data plane, in Docker or as an
# installed kongdp. The node makes its own key and asks for its certificate with the token. The password is never an argument of any
# command, is sent only after the control plane has proven itself, and is not kept.
set -eu

registry='' image='kongdp:latest' proxy_port=8000 control_plane='' telemetry='' user='' fingerprint='' group=default
password_file='' token_file='' is_local='' prefix='' name='' is_verbose='' is_silent='' work=''

usage() {
  cat <<'USAGE'
usage: runtime-setup.sh -c HOST:PORT -f FINGERPRINT (-u USER [--password-file FILE] | --token-file FILE) [options]

  -c, --control-plane HOST:PORT  cluster listener of the control plane (port 8005)
  -f, --fingerprint HEX          SHA-256 of the control plane's CA certificate, as the control plane prints it
  -u, --user NAME                user who may enrol data planes; the password is asked for
      --password-file FILE       take the password from the first line of FILE
      --token-file FILE          take a one-time enrolment token from the first line of FILE instead
  -te, --telemetry HOST:PORT     counter listener of the control plane, if it is not its host at port 8006
  -g, --group NAME               runtime group (default)
  -pp, --proxy-port PORT         port on which this data plane serves (8000)
  -r, --registry NAME            image registry (none)
  -ri, --image NAME              image (kongdp:latest)
  -n, --name NAME                name of the container (kongdp-data-plane-PORT)
  -l, --local                    use the kongdp installed on this machine, not Docker
      --prefix DIR               where a local data plane keeps its state (./kongdp_dataplane)
  -v, --verbose                  show what is done
  -h, --help                     this text
USAGE
}

fail() {
  printf 'Error:  %s\n' "$*" >&2
  exit 1
}

say() {
  [ -z "$is_verbose" ] || printf '%s\n' "$*" >&2
}

leave() {
  # Also after Ctrl-C while the password is being typed.
  [ -z "$is_silent" ] || stty echo </dev/tty
  [ -z "$work" ] || rm -rf "$work"
}

need_value() {
  [ "$1" -ge 2 ] || fail "$2 needs a value (see --help)"
}

read_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      -c | --control-plane) need_value $# "$1"; control_plane=$2; shift ;;
      -te | --telemetry) need_value $# "$1"; telemetry=$2; shift ;;
      -f | --fingerprint) need_value $# "$1"; fingerprint=$2; shift ;;
      -u | --user) need_value $# "$1"; user=$2; shift ;;
      -g | --group) need_value $# "$1"; group=$2; shift ;;
      -pp | --proxy-port) need_value $# "$1"; proxy_port=$2; shift ;;
      -r | --registry) need_value $# "$1"; registry=$2; shift ;;
      -ri | --image) need_value $# "$1"; image=$2; shift ;;
      -n | --name) need_value $# "$1"; name=$2; shift ;;
      --password-file) need_value $# "$1"; password_file=$2; shift ;;
      --token-file) need_value $# "$1"; token_file=$2; shift ;;
      --prefix) need_value $# "$1"; prefix=$2; shift ;;
      -l | --local) is_local=yes ;;
      -v | --verbose) is_verbose=yes ;;
      -h | --help) usage; exit 0 ;;
      -p | --password) fail 'a password on the command line stays in the shell history: leave it out and type it when asked' ;;
      *) fail "unknown argument $1 (see --help)" ;;
    esac
    shift
  done
}

check_arguments() {
  [ -n "$control_plane" ] || fail 'say where the control plane is: -c HOST:PORT (see --help)'
  [ -n "$fingerprint" ] || fail 'say which CA certificate the control plane must have: -f FINGERPRINT (see --help)'
  [ -n "$user" ] || [ -n "$token_file" ] || fail 'say who you are: -u USER, or --token-file FILE (see --help)'
  case $control_plane in
    *[!0-9A-Za-z.:_-]*) fail "-c $control_plane: expected HOST:PORT" ;;
    *:*) ;;
    *) control_plane=$control_plane:8005 ;;
  esac
  case $telemetry in *[!0-9A-Za-z.:_-]*) fail "-te $telemetry: expected HOST:PORT" ;; esac
  host=${control_plane%:*} port=${control_plane##*:}
  case $port in '' | *[!0-9]*) fail "-c $control_plane: expected HOST:PORT" ;; esac
  case $proxy_port in '' | *[!0-9]*) fail "-pp $proxy_port: expected a port number" ;; esac
  case $group in *[!0-9A-Za-z._~-]*) fail "-g $group: expected the name or id of a runtime group" ;; esac
  fingerprint=$(printf '%s' "$fingerprint" | tr -d ': \n' | tr 'A-F' 'a-f')
  case $fingerprint in *[!0-9a-f]*) fail "-f $fingerprint: expected 64 hexadecimal digits" ;; esac
  [ ${#fingerprint} -eq 64 ] || fail "-f $fingerprint: expected 64 hexadecimal digits"
  for file in "$password_file" "$token_file"; do
    [ -z "$file" ] || [ -r "$file" ] || fail "cannot read $file"
  done
  name=${name:-kongdp-data-plane-$proxy_port}
  prefix=${prefix:-$PWD/kongdp_dataplane}
}

check_machine() {
  for tool in curl openssl; do
    command -v "$tool" >/dev/null 2>&1 || fail "$tool needs to be installed"
  done
  if [ -n "$is_local" ]; then
    command -v kongdp >/dev/null 2>&1 || fail 'kongdp needs to be installed (or leave out --local to use docker)'
  else
    command -v docker >/dev/null 2>&1 || fail 'docker needs to be installed (or use --local with an installed kongdp)'
    docker info >/dev/null 2>&1 || fail 'docker does not answer: is it running, and may this user use it?'
    [ -z "$(docker ps -aq --filter "name=^/$name\$")" ] || fail "there is a container $name already: remove it (docker rm -f $name) or choose another --name"
  fi
  # Status 7: nobody listens there. Anything else means that somebody does.
  code=0
  curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$proxy_port/" || code=$?
  [ "$code" -eq 7 ] || fail "port $proxy_port is in use on this machine: choose another with -pp"
}

# The control plane's certificate carries this name wherever it is reached; --connect-to goes to the real address.
ask() {
  curl -sS --max-time 30 --cacert "$work/ca.pem" --connect-to "kongdp-control-plane:$port:$host:$port" "$@"
}

verify_control_plane() {
  say "fetching the CA certificate of $control_plane"
  # Not verified, and nothing secret is sent: what comes back must have the fingerprint.
  curl -sSk --max-time 30 -o "$work/ca.b64" "https://$control_plane/.well-known/est/cacerts" 2>"$work/err" ||
    fail "failed to fetch control plane $control_plane: $(cat "$work/err")"
  openssl base64 -d -in "$work/ca.b64" -out "$work/ca.der" 2>/dev/null &&
    openssl pkcs7 -inform DER -in "$work/ca.der" -print_certs 2>/dev/null | openssl x509 -out "$work/ca.pem" 2>/dev/null ||
    fail "failed to fetch control plane $control_plane: it does not answer as one"
  found=$(openssl x509 -in "$work/ca.pem" -noout -fingerprint -sha256 | sed 's/.*=//' | tr -d ':' | tr 'A-F' 'a-f')
  [ "$found" = "$fingerprint" ] ||
    fail "$control_plane is not the control plane you named: its CA certificate has the fingerprint $found"
}

read_password() {
  if [ -n "$password_file" ]; then
    IFS= read -r password <"$password_file" || [ -n "$password" ] || fail "$password_file is empty"
    return
  fi
  (: </dev/tty) 2>/dev/null || fail 'there is no terminal to ask for the password on: use --password-file or --token-file'
  printf 'Password of %s: ' "$user" >/dev/tty
  is_silent=yes
  stty -echo </dev/tty
  IFS= read -r password </dev/tty || fail 'no password'
  stty echo </dev/tty
  is_silent=''
  printf '\n' >/dev/tty
}

# curl reads the credentials from its standard input: an argument could be seen by every user of this machine.
get_token() {
  token='' password=''
  if [ -n "$token_file" ]; then
    IFS= read -r token <"$token_file" || [ -n "$token" ] || fail "$token_file is empty"
    # It becomes a line of a settings file.
    case $token in '' | *[!0-9A-Za-z_.-]*) fail "$token_file does not hold an enrolment token" ;; esac
    return
  fi
  read_password
  escaped=$(printf '%s:%s' "$user" "$password" | sed 's/[\\"]/\\&/g')
  password=''
  status=$(printf 'user = "%s"\n' "$escaped" | ask -K - -o "$work/token.json" -w '%{http_code}' -X POST \
    "https://kongdp-control-plane:$port/v2/control-planes/$group/enrolment-tokens" 2>"$work/err") ||
    fail "login to the control plane failed... ($(cat "$work/err"))"
  [ "$status" = 201 ] || fail "login to the control plane failed... (Status code: $status)"
  token=$(sed -n 's/.*"token": *"\([^"]*\)".*/\1/p' "$work/token.json")
  [ -n "$token" ] || fail 'failed to generate certificates: the control plane gave no token'
}

write_settings() {
  # Read by the owner only, and gone when this script ends. A token is good once.
  cat >"$work/settings" <<SETTINGS
KONG_ROLE=data_plane
KONG_DATABASE=off
KONG_CLUSTER_MTLS=pki
KONG_CLUSTER_CONTROL_PLANE=$1
KONG_CLUSTER_SERVER_NAME=kongdp-control-plane
KONG_CLUSTER_TELEMETRY_SERVER_NAME=kongdp-control-plane
KONG_PROXY_LISTEN=0.0.0.0:$2
KONGDP_ENROLL_URL=https://$1
KONGDP_ENROLL_TOKEN=$token
KONGDP_ENROLL_CA_FINGERPRINT=$fingerprint
SETTINGS
  [ -z "$3" ] || echo "KONG_CLUSTER_TELEMETRY_ENDPOINT=$3" >>"$work/settings"
}

start_container() {
  reference=${registry:+$registry/}$image
  if ! docker image inspect "$reference" >/dev/null 2>&1; then
    echo 'pulling kong docker image...'
    docker pull -q "$reference" >/dev/null || fail "cannot pull the image $reference"
    echo 'done'
  fi
  inside=$control_plane inside_telemetry=$telemetry
  set -- run -d --name "$name" --restart unless-stopped -p "$proxy_port:8000"
  case $host in
    localhost | 127.*)
      # Inside the container that name means the container.
      inside=host.docker.internal:$port
      inside_telemetry=${telemetry:+host.docker.internal:${telemetry##*:}}
      set -- "$@" --add-host host.docker.internal:host-gateway
      ;;
  esac
  write_settings "$inside" 8000 "$inside_telemetry"
  flight=$(docker "$@" --env-file "$work/settings" "$reference") || fail 'docker could not start the data plane'
  hint="docker logs $name"
}

start_local() {
  write_settings "$control_plane" "$proxy_port" "$telemetry"
  mkdir -p "$prefix"
  set -a
  # shellcheck disable=SC1091
  . "$work/settings"
  set +a
  kongdp start -p "$prefix" || fail 'kongdp could not start the data plane (its reason stands above)'
  flight=$(cat "$prefix/kong.id" 2>/dev/null || echo local)
  hint="the logs under $prefix/logs"
}

wait_until_it_serves() {
  tries=0
  until curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$proxy_port/"; do
    tries=$((tries + 1))
    [ "$tries" -lt 60 ] || fail "the data plane does not answer on port $proxy_port after a minute: see $hint"
    sleep 1
  done
}

read_arguments "$@"
echo '*** Welcome to kongdp ***'
check_arguments
echo 'Running checks...'
check_machine
umask 077
work=$(mktemp -d)
trap leave EXIT
trap 'exit 1' HUP INT TERM
verify_control_plane
get_token
if [ -n "$is_local" ]; then start_local; else start_container; fi
wait_until_it_serves
echo 'Ready to launch'
echo "Your flight number: $flight"
echo 'Enjoy the flight!'
