#!/bin/sh
# For people who rely on it: data that the image holds is also where ANTsPyNet and ANTsPy themselves would look.
set -eu
link() { # link PACKAGE DIRECTORY: never to nothing, for Keras would write through such a link
    target=$(antscache path "$1")/$2
    [ ! -d "$target" ] || ln -sfn "$target" "/home/antspyuser/$2"
}
for package; do
    case $package in
    antspynet) link antspynet .keras/ANTsXNet ;;
    antspyx) link antspyx .antspy ;;
    esac
done
