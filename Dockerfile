# The image that `make image` builds without a container daemon. To build it with one:
#   docker build -t localhost/replicatedstore:dev --build-arg VERSION="$(git describe --tags --always --dirty)" .
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w -X main.version=${VERSION}" -o /out/ ./cmd/operator ./cmd/node \
 && mkdir -p /root-fs/etc /root-fs/tmp && chmod 1777 /root-fs/tmp && chmod 555 /out/operator /out/node \
 && printf 'root:x:0:0:root:/:/none\nnonroot:x:65532:65532:nonroot:/:/none\n' >/root-fs/etc/passwd

FROM scratch
COPY --from=build /root-fs/ /
COPY --from=build /out/operator /out/node /
USER 65532:65532
ARG VERSION=dev
LABEL org.opencontainers.image.title=replicatedstore org.opencontainers.image.version=${VERSION}
