# The server with the exported model: docker build -t classifier . && docker run -p 8000:8000 classifier
# The digest is that of the index for all processors. The image holds slim Python, the packages of requirements-serve.txt, the package `finetune` and one ONNX file.
FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d AS model
COPY models/export/ /model/
# The server prefers the int8 file; if export kept it, the fp32 one would only take space.
RUN rm -f /model/model.safetensors && if [ -f /model/onnx/model_int8.onnx ]; then rm /model/onnx/model.onnx; fi

FROM python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 SERVE_HOST=0.0.0.0 SERVE_PORT=8000 SERVE_FOLDER=/app/model
WORKDIR /app
COPY requirements-serve.txt constraints.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements-serve.txt -c constraints.txt
COPY finetune/ finetune/
COPY --from=model /model/ model/
# A number, so that Kubernetes can verify that the user is not root.
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-c", "import os; from urllib.request import urlopen; urlopen('http://127.0.0.1:' + os.environ['SERVE_PORT'] + '/health', timeout=4)"]
CMD ["python", "-m", "finetune.serve"]
