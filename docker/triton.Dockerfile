# NVIDIA's Triton server with the model repository in it. `--target cpu` and `--target gpu` (docs/gpu.md says why the
# graphs differ). The models are assembled from pinned, hashed sources while the image is built.
#
#   TRITON    NVIDIA's container of the server, with the onnxruntime backend, named by its digest; there is no default
#   BASE, ALLOW_FLOATING, WHEELS, INDEX    as in Dockerfile
ARG BASE=python:3.11-slim-bookworm
ARG TRITON

FROM ${BASE} AS models
ARG BASE TRITON ALLOW_FLOATING="" WHEELS="" INDEX=""
RUN for image in "${BASE}" "${TRITON}"; do \
      case "${image}${ALLOW_FLOATING:+@sha256:}" in \
        *@sha256:*) ;; \
        *) echo "${image} may be another image tomorrow: name it by its digest, or say ALLOW_FLOATING=1" >&2; exit 1 ;; \
      esac; \
    done
WORKDIR /src
COPY .lock/bootstrap.txt docker/models.txt ./
RUN set -eu; \
    set -- --require-hashes ${WHEELS:+--no-index --find-links "$WHEELS"} ${INDEX:+--index-url "$INDEX"}; \
    python3 -m venv /tools; \
    /tools/bin/pip install --no-cache-dir --disable-pip-version-check -q -r bootstrap.txt "$@"; \
    python3 -m venv --without-pip /opt/unmask; \
    /tools/bin/uv pip install --no-cache -q --python /opt/unmask/bin/python -r models.txt "$@"
COPY pyproject.toml README.md LICENSE ./
COPY pipeline pipeline
RUN set -eu; \
    /tools/bin/pip wheel --disable-pip-version-check -q --no-deps --no-build-isolation --no-index --wheel-dir /dist .; \
    /tools/bin/uv pip install --no-cache -q --no-deps --no-index --python /opt/unmask/bin/python /dist/*.whl
COPY models /models
RUN UNMASK_HOME=/fetched UNMASK_MODELS_DIR=/models /opt/unmask/bin/unmask models build --gpu /models-gpu \
 && rm -rf /fetched

# hadolint ignore=DL3006
FROM ${TRITON} AS cpu
LABEL org.opencontainers.image.title="Triton with Unmask's models" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=models /models /models
USER 10001:10001
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=15s --timeout=5s --start-period=180s --retries=4 \
  CMD ["curl", "--fail", "--silent", "--max-time", "4", "http://127.0.0.1:8000/v2/health/ready"]
CMD ["tritonserver", "--model-repository=/models", "--disable-auto-complete-config", "--exit-timeout-secs=20"]

# hadolint ignore=DL3006
FROM ${TRITON} AS gpu
LABEL org.opencontainers.image.title="Triton with Unmask's models for GPUs" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=models /models-gpu /models
USER 10001:10001
EXPOSE 8000 8001 8002
HEALTHCHECK --interval=15s --timeout=5s --start-period=600s --retries=4 \
  CMD ["curl", "--fail", "--silent", "--max-time", "4", "http://127.0.0.1:8000/v2/health/ready"]
CMD ["tritonserver", "--model-repository=/models", "--disable-auto-complete-config", "--exit-timeout-secs=20"]
