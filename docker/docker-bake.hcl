# Build images of several releases, with and without data, and `latest`. From the root of antscache's repository:
#
#     docker buildx bake -f docker/docker-bake.hcl
#     IMAGE=registry.example.org/antspynet docker buildx bake -f docker/docker-bake.hcl --push with-data-0-3-2

variable "IMAGE" {
  default = "antspynet"
}

variable "RELEASES" {
  default = "0.3.2 0.2.9"
}

variable "LATEST" {
  default = "0.3.2"
}

group "default" {
  targets = ["plain", "with-data"]
}

target "plain" {
  name       = "plain-${replace(release, ".", "-")}"
  matrix     = { release = split(" ", RELEASES) }
  context    = "."
  dockerfile = "docker/Dockerfile"
  args       = { ANTSPYNET_VERSION = release }
  tags       = concat(["${IMAGE}:${release}"], release == LATEST ? ["${IMAGE}:latest"] : [])
}

target "with-data" {
  name       = "with-data-${replace(release, ".", "-")}"
  matrix     = { release = split(" ", RELEASES) }
  context    = "."
  dockerfile = "docker/Dockerfile"
  args       = { ANTSPYNET_VERSION = release, install_antsxnet_data = "1" }
  tags       = ["${IMAGE}:${release}-with-data"]
}
