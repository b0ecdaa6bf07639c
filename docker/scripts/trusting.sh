#!/bin/sh
# Run a command that trusts the certificate authorities in the build's secret `ca` as well, if there is one.
#     docker build --secret id=ca,src=/path/to/ca.pem ...
set -eu
secret=/run/secrets/ca
if [ -s "$secret" ]; then
    bundle=$(mktemp)
    cat /etc/ssl/certs/ca-certificates.crt "$secret" >"$bundle"
    export PIP_CERT="$bundle" REQUESTS_CA_BUNDLE="$bundle" SSL_CERT_FILE="$bundle" GIT_SSL_CAINFO="$bundle"
fi
exec "$@"
