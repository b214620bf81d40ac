# A place to try calls from, as an agent would make them.
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends curl ca-certificates && rm -rf /var/lib/apt/lists/*
USER 65533:65533
CMD ["sleep", "infinity"]
