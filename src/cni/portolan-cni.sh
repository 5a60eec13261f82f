#!/bin/sh
# The CNI plug-in where there is no compiler to build portolan-cni.c: the same bytes by a POSIX shell and mkfifo.
#
# A shell cannot speak to a unix socket, so the agent also serves a directory beside it, "<socket>.d": the request is
# a file there, its number goes into the fifo "requests", the answer comes back through a fifo of its own.
# "agent" there holds the agent's process id: a fifo without a reader would block for ever.
set -u
LC_ALL=C
export LC_ALL
umask 077
directory=${PORTOLAN_CNI_SOCKET:-/run/portolan/cni.sock}.d
version=0.1.0
newline='
'

fail() { # code message remedy
  printf '{"cniVersion":"%s","code":%s,"msg":"%s","details":"%s"}\n' "$version" "$1" "$2" "$3"
  exit 1
}

# A shell reads lines: a byte NUL cannot be in JSON, and the last line may lack its end.
config=
while IFS= read -r line || [ -n "$line" ]; do
  config=$config$line$newline
  line=
done

case $config in
*'"cniVersion"'*)
  rest=${config#*'"cniVersion"'}
  rest=${rest#*:}
  rest=${rest#*\"}
  rest=${rest%%\"*}
  case $rest in
  '' | *[!0-9A-Za-z.+-]*) ;;
  *) version=$rest ;;
  esac
  ;;
esac

if [ "${CNI_COMMAND:-}" = VERSION ]; then
  case $version in
  0.1.0 | 0.2.0 | 0.3.0 | 0.3.1 | 0.4.0 | 1.0.0 | 1.1.0) ;;
  *) version=1.1.0 ;;
  esac
  printf '{"cniVersion":"%s","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\n' "$version"
  exit 0
fi

variables=
for name in CNI_COMMAND CNI_CONTAINERID CNI_NETNS CNI_IFNAME CNI_ARGS CNI_PATH; do
  eval "value=\${$name-}"
  case $value in
  *"$newline"*) fail 4 "The environment variable holds a line break: $name" "pass it without one" ;;
  esac
  [ -z "$value" ] || variables=$variables$name=$value$newline
done

agent=
[ ! -r "$directory/agent" ] || IFS= read -r agent <"$directory/agent"
[ -n "$agent" ] && kill -0 "$agent" 2>/dev/null ||
  fail 11 "The Portolan agent does not run" "start it: systemctl start portolan-agent"

answer=$directory/$$
trap 'rm -f "$answer" "$answer.request"' EXIT
mkfifo "$answer" && printf '%s\n%s' "$variables" "$config" >"$answer.request" ||
  fail 5 "Write the request" "is there room on /run, and is this root?"

# The agent answers within 15 s; should it die instead, this writes the error that the reader below waits for.
(
  trap 'kill "$sleeper"; exit' TERM
  sleep 20 &
  sleeper=$!
  wait "$sleeper"
  printf '1\n{"cniVersion":"%s","code":11,"msg":"The Portolan agent does not answer","details":"look at its log"}\n' \
    "$version" >"$answer"
) </dev/null >/dev/null 2>&1 &
watchdog=$!

# Opened for reading and writing, so that an agent that died just now does not block this.
printf '%s\n' "$$" 1<>"$directory/requests"
{
  IFS= read -r code || code=
  while IFS= read -r line || [ -n "$line" ]; do
    printf '%s\n' "$line"
    line=
  done
} <"$answer"
kill "$watchdog" 2>/dev/null
case $code in
'' | *[!0-9]*) fail 11 "The Portolan agent broke off" "try again; if it repeats, look at the log of the agent" ;;
esac
exit "$code"
