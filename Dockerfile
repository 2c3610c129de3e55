# The images of both services: `make images`. images/README.md says how the builder is pinned and what is inside.

# The builder, by digest and never by tag alone: `make images` takes it from images/builder, and refuses one without.
ARG BUILDER

FROM ${BUILDER} AS builder
# Which commit this is; the programs say it (--version, logs, traces, metrics).
ARG ROSTER_COMMIT
ENV ROSTER_COMMIT=${ROSTER_COMMIT}
WORKDIR /src
COPY . .
RUN test -n "$ROSTER_COMMIT" || { echo "build with --build-arg ROSTER_COMMIT=<commit>" >&2; exit 1; }
RUN images/sbom /out
RUN cargo build --locked --release --package identity-service --package scim-facade --bins \
      --features identity-service/tls \
    && images/assemble target/release/identity /out/identity \
    && images/assemble target/release/facade /out/facade

FROM scratch AS identity
ARG ROSTER_COMMIT
LABEL org.opencontainers.image.title="Roster identity" \
      org.opencontainers.image.revision="${ROSTER_COMMIT}"
COPY --from=builder /out/identity/ /
USER 65532:65532
EXPOSE 8481 8491
ENTRYPOINT ["/identity"]
CMD ["serve"]

FROM scratch AS facade
ARG ROSTER_COMMIT
LABEL org.opencontainers.image.title="Roster facade" \
      org.opencontainers.image.revision="${ROSTER_COMMIT}"
COPY --from=builder /out/facade/ /
USER 65532:65532
EXPOSE 8480 8490
ENTRYPOINT ["/facade"]
