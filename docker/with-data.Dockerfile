# Add data and networks to an image that has an ANTsPyNet. See docs/containers.md.
#
#     docker build -f docker/with-data.Dockerfile --build-arg IMAGE=antspynet:0.3.2 -t antspynet:0.3.2-with-data .
#
# IMAGE is one of docker/Dockerfile, or any other with a Python 3.10 or later and an antspynet in it. antscache reads the
# release, and so its files, from that antspynet's source. Run it in the root of antscache's repository, with BuildKit.

ARG IMAGE
FROM ${IMAGE} AS tool
# hadolint ignore=DL3002
USER root
COPY pyproject.toml README.md LICENSE get_antspynet_data.py /src/
COPY antscache /src/antscache
RUN --mount=type=bind,source=docker/scripts/trusting.sh,target=/scripts/trusting.sh \
    --mount=type=bind,source=docker/scripts/tool.sh,target=/scripts/tool.sh \
    --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=ca \
    sh /scripts/trusting.sh sh /scripts/tool.sh

FROM tool AS data
ARG ANTSXNET_NAMES=
ARG ANTSXNET_LOCK=
ARG ANTSXNET_DIGEST=
ARG ANTSCACHE_MIRRORS=
ARG ANTSCACHE_ORIGINS=
RUN --mount=type=bind,source=docker/scripts/trusting.sh,target=/scripts/trusting.sh \
    --mount=type=bind,source=docker/scripts/data.sh,target=/scripts/data.sh \
    --mount=type=bind,source=docker/local,target=/local \
    --mount=type=cache,target=/var/cache/antscache \
    --mount=type=secret,id=ca \
    sh /scripts/trusting.sh sh /scripts/data.sh "${ANTSXNET_NAMES}" "${ANTSXNET_DIGEST}" /bake --layers 16

FROM ${IMAGE}
USER root
COPY --from=tool /usr/local/lib/antscache /usr/local/lib/antscache
RUN --mount=type=bind,source=docker/scripts/image.sh,target=/scripts/image.sh \
    sh /scripts/image.sh
COPY --from=data /bake/00/ /
COPY --from=data /bake/01/ /
COPY --from=data /bake/02/ /
COPY --from=data /bake/03/ /
COPY --from=data /bake/04/ /
COPY --from=data /bake/05/ /
COPY --from=data /bake/06/ /
COPY --from=data /bake/07/ /
COPY --from=data /bake/08/ /
COPY --from=data /bake/09/ /
COPY --from=data /bake/10/ /
COPY --from=data /bake/11/ /
COPY --from=data /bake/12/ /
COPY --from=data /bake/13/ /
COPY --from=data /bake/14/ /
COPY --from=data /bake/15/ /
COPY --from=data /bake/rest/ /
RUN --mount=type=bind,source=docker/scripts/links.sh,target=/scripts/links.sh \
    sh /scripts/links.sh antspynet
USER antspyuser
WORKDIR /home/antspyuser
ARG ANTSXNET_NAMES=
ARG ANTSXNET_DIGEST=
LABEL org.antsx.antsxnet.selection="${ANTSXNET_NAMES}" \
      org.antsx.antsxnet.digest="${ANTSXNET_DIGEST}"
