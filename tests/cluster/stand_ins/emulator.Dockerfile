# SQS, S3 and CloudWatch for charts/academy-dev where moto's public image cannot be pulled.
ARG BUILD=academy-build
ARG RUNTIME=academy-base

FROM ${BUILD} AS packages
RUN uv venv --quiet /opt/academy/venv \
    && uv pip install --quiet --python /opt/academy/venv 'moto[server,s3,sqs]==5.2.5'

FROM ${RUNTIME}
COPY --from=packages /opt/academy/venv /opt/academy/venv
CMD ["moto_server", "-H", "0.0.0.0", "-p", "5000"]
