# nginx with the module, on Debian.  With nothing mounted it serves the demo
# configuration on port 8080:
#
#   docker build -t entra-mdm .
#   docker run -p 8080:8080 entra-mdm
#   docker run -p 443:443 -v ./nginx.conf:/etc/nginx/nginx.conf:ro \
#       -e HEALTH_URL=https://127.0.0.1/health entra-mdm
#
# --build-arg DEBIAN=trixie takes Debian 13 instead of 12; there hiredis has TLS.
# compose.yaml runs it with a Redis.

ARG DEBIAN=bookworm

FROM debian:${DEBIAN}-slim AS build

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y \
        --no-install-recommends \
        build-essential nginx nginx-dev libssl-dev libjansson-dev \
        libexpat1-dev libhiredis-dev libcurl4-openssl-dev libyaml-dev

COPY config Makefile /src/
COPY ngx_http_entra_mdm_module /src/ngx_http_entra_mdm_module
COPY entra-mdmctl /src/entra-mdmctl
RUN make -j "$(nproc)" -C /src BUILD=/build


FROM debian:${DEBIAN}-slim

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y \
        --no-install-recommends nginx curl ca-certificates libjansson4 \
        libexpat1 libyaml-0-2 '^libhiredis(-ssl)?[0-9.]+$' \
    && rm -rf /var/lib/apt/lists/* \
    && ln -s /usr/lib/nginx/modules /var/lib/nginx/modules \
    && mkdir -m 700 /var/lib/nginx/entra_mdm \
    && chown -R www-data:www-data /var/lib/nginx /var/log/nginx /run

COPY --from=build /build/ngx_http_entra_mdm_module.so /usr/lib/nginx/modules/
COPY --from=build /build/entra-mdmctl /usr/bin/
COPY conf-examples/demo.conf /etc/nginx/nginx.conf
COPY conf-examples/keys.json /etc/nginx/keys.json
COPY conf-examples/jwks-*.conf /etc/nginx/entra-mdm/
COPY ui /usr/share/entra-mdm/ui

USER www-data
EXPOSE 8080
STOPSIGNAL SIGQUIT

# A configuration of yours has such a location, or another HEALTH_URL.
ENV HEALTH_URL=http://127.0.0.1:8080/health
HEALTHCHECK --interval=30s --timeout=3s --start-period=5s \
    CMD curl -fsSk "$HEALTH_URL" || exit 1

# Relative paths in the configuration are below /var/lib/nginx, which the
# worker's user owns.
CMD ["nginx", "-p", "/var/lib/nginx/", "-e", "stderr", "-g", "daemon off;"]
