#!/bin/sh
# Link the image's data to the places where ANTsPyNet and ANTsPy look themselves: links.sh PACKAGE...
set -eu
link() { # link PACKAGE DIRECTORY; no link without a target, because Keras would write through it
    target=$(antscache path "$1")/$2
    [ ! -d "$target" ] || ln -sfn "$target" "/home/antspyuser/$2"
}
for package; do
    case $package in
    antspynet) link antspynet .keras/ANTsXNet ;;
    antspyx) link antspyx .antspy ;;
    esac
done
