# The appliance with its bundled store, or without (docker-compose.minio.yml). How to run it: docs/deploy.md.
# glibc is needed: the bundled store's program is built for it, so no Alpine.
ARG PYTHON_IMAGE=python:3.11-slim

# What is installed: from the network, or from dist/wheelhouse if `make dist` has made it. The pattern is for where there is none.
FROM ${PYTHON_IMAGE} AS libraries
COPY requirements.lock dist/wheelhous[e] /wheels/
RUN if ls /wheels/*.whl > /dev/null 2>&1; then export PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels; fi \
 && python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore --ignore-installed --prefix /libraries \
        --require-hashes --only-binary :all: -r /wheels/requirements.lock

FROM ${PYTHON_IMAGE}

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /app

# First what changes rarely: a new version of our own code then reuses this layer.
COPY --from=libraries /libraries /usr/local

# A fixed number, so that the owner of a mounted directory can be set from outside: chown 10001:10001.
RUN groupadd --system --gid 10001 uploadkit \
 && useradd --system --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin uploadkit \
 && install -d -m 0700 -o 10001 -g 10001 /data

COPY LICENSE app.py config.toml ./
COPY templates ./templates
COPY static ./static
COPY uploadkit ./uploadkit
RUN python -m compileall -q app.py uploadkit

# Every interface of the container; which of them the world sees is decided where the ports are published.
# Set UPLOADKIT_SERVER__PUBLIC_URL to the address that clients use.
ENV UPLOADKIT_DATA__DIR=/data \
    UPLOADKIT_SERVER__HOST=0.0.0.0

USER 10001:10001
VOLUME ["/data"]
# 8080: API and pages. 9000: the bundled store, which clients send file bytes to.
EXPOSE 8080 9000

HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]

# Exec form: SIGTERM reaches the appliance itself. It finishes requests in flight and stops the store: allow it 60 s.
CMD ["python", "app.py", "serve"]
