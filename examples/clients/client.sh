#!/bin/sh
# A complete jobd client in plain sh with nc (the OpenBSD one): each argument is a line for the shell, run as a job;
# finishes are printed as they come; exits 0 if all succeeded.
#
#     JOBD_URL=jobd+unix:///run/user/1000/jobd/jobd.sock ./client.sh 'sleep 1' 'gzip -k /data/a.log'
talk() {
    case $JOBD_URL in
        jobd+unix://*) nc -N -U "${JOBD_URL#jobd+unix://}" ;;
        *) address=${JOBD_URL#jobd://}; nc -N "${address%:*}" "${address##*:}" ;;
    esac
}

requests() {
    [ -z "$JOBD_TOKEN" ] || echo "auth $JOBD_TOKEN"
    for line in "$@"; do printf 'sh %s\n' "$line"; done
}

# After the last request nc closes its half of the connection: what is still to come comes, then the daemon closes.
requests "$@" | talk | {
    succeeded=0
    while read -r word second job state outcome; do
        case $word in
            ok) [ -z "$second" ] || echo "job $second accepted" ;;
            error) echo "client.sh: $second $job $state $outcome" >&2 ;;
            \*) echo "job $job $state $outcome"; [ "$state" != succeeded ] || succeeded=$((succeeded + 1)) ;;
        esac
    done
    [ "$succeeded" -eq $# ]
}
