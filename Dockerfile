FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY fhir_server fhir_server
RUN python -m venv /opt/fhir && /opt/fhir/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home fhir
COPY --from=build /opt/fhir /opt/fhir
ENV PATH=/opt/fhir/bin:$PATH PYTHONUNBUFFERED=1 FHIR_SERVER_HOST=0.0.0.0 FHIR_SERVER_LOG_JSON=true
USER fhir
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
CMD ["fhir-server", "serve"]
