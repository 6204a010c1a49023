# docker build --tag mdcf .
# docker build --build-arg EXTRAS=app,faces,provenance,cuda12 --tag mdcf:cuda .
# docs/installation.md says how it is run.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ARG EXTRAS=app,faces,provenance
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/mdcf
# Alone, so that a change of the code does not install it again.
COPY requirements.lock requirements-dev.lock /src/
RUN /opt/mdcf/bin/pip install --no-cache-dir --requirement /src/requirements.lock
COPY setup.py pyproject.toml LICENSE /src/
COPY mdcf_jax /src/mdcf_jax
# The versions of extras are those that are tested.
RUN /opt/mdcf/bin/pip install --no-cache-dir \
  --constraint /src/requirements-dev.lock "/src[${EXTRAS}]"

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="mdcf_jax" \
  org.opencontainers.image.description="Talking heads from a portrait and speech" \
  org.opencontainers.image.licenses="Apache-2.0"
# What MediaPipe draws on; Debian's security updates may change versions.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends \
  libegl1 libgl1 libgles2 libglib2.0-0 \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --create-home --uid 1000 mdcf \
  && mkdir /work /cache \
  && chown mdcf /work \
  && chmod 1777 /cache
COPY --from=build /opt/mdcf /opt/mdcf
# /cache is for any user: `docker run --user` names one without a home.
ENV PATH=/opt/mdcf/bin:$PATH \
  HOME=/cache \
  XDG_CACHE_HOME=/cache \
  PYTHONUNBUFFERED=1
USER mdcf
WORKDIR /work
VOLUME ["/cache", "/work"]
# A command that ends, no service.
HEALTHCHECK NONE
ENTRYPOINT ["mdcf"]
CMD ["--help"]
