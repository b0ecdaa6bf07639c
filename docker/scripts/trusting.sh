#!/bin/sh
# Run a command that also trusts the certificate authorities in the build's secret `ca`, if there is one.
#     docker build --secret id=ca,src=/path/to/ca.pem ...
set -eu
secret=/run/secrets/ca
[ -s "$secret" ] || exec "$@"
bundle=$(mktemp)
trap 'rm -f "$bundle"' EXIT # a file left here would be in the layer
cat /etc/ssl/certs/ca-certificates.crt "$secret" >"$bundle"
export PIP_CERT="$bundle" REQUESTS_CA_BUNDLE="$bundle" SSL_CERT_FILE="$bundle" GIT_SSL_CAINFO="$bundle"
"$@"
