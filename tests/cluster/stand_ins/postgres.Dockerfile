# Postgres for charts/academy-dev where its public image cannot be pulled.
ARG RUNTIME=academy-base

FROM ${RUNTIME}
USER 0:0
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/lib/postgresql /etc/postgresql
RUN /usr/sbin/groupadd --gid 999 database && /usr/sbin/useradd --uid 999 --gid 999 --no-create-home database
ENV PATH=/usr/local/bin:/usr/bin:/bin
USER 999:999
