# The portal and all it runs, as an ordinary user. Alone it uses its embedded servers; with
# DATABASE_URL and BROKER_URL (docker-compose.yml) each part runs in a container of its own.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 REGATTA_HOME=/var/lib/regatta
RUN useradd --uid 10001 --create-home regatta \
    && install -d -o regatta -g regatta -m 0700 /var/lib/regatta
WORKDIR /app

# torch goes first, so that nothing else chooses a build with the libraries of GPUs.
COPY requirements.lock ./
RUN python -m pip install -c requirements.lock torch==2.13.0
COPY . .
RUN python -m pip install -c requirements.lock -e '.[local]'

USER regatta
VOLUME /var/lib/regatta
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python", "-c", \
    "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "regatta.cli", "up", "--host", "0.0.0.0"]
