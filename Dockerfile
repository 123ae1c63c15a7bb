# One file, four images: `docker build --target engine|engine-gpu|bot|trainer .`
FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    XDG_DATA_HOME=/data XDG_CONFIG_HOME=/keys XDG_STATE_HOME=/data/state
RUN useradd --create-home --uid 10001 wordtale && mkdir -p /data /keys && chown wordtale:wordtale /data /keys
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bot bot
COPY engine engine
COPY storage storage
COPY training training

FROM base AS bot
RUN pip install --constraint constraints.txt '.[postgres]'
USER wordtale
VOLUME ["/data", "/keys"]
CMD ["wordtale", "chat"]

# Decodes on the CPU with ONNX Runtime; no torch in it.
FROM base AS engine
RUN pip install --constraint constraints.txt .
USER wordtale
ENV WORDTALE_ENGINE_HOST=0.0.0.0
EXPOSE 8766
VOLUME ["/data"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8766/readyz', timeout=4)"]
CMD ["wordtale", "engine", "serve"]

# The same with torch: NVIDIA GPUs, beams, encoder-decoders, layouts that ONNX Runtime isn't given.
FROM engine AS engine-gpu
ARG TORCH_INDEX=https://pypi.org/simple
USER root
RUN pip install --constraint constraints.txt --index-url "${TORCH_INDEX}" torch \
 && pip install --constraint constraints.txt '.[gpu]'
USER wordtale

# Trains on the CPU: PyTorch's index of CPU builds keeps the CUDA libraries out.
FROM engine AS trainer
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
USER root
RUN pip install --constraint constraints.txt --index-url "${TORCH_INDEX}" torch \
 && pip install --constraint constraints.txt '.[train]'
USER wordtale
ENV WORDTALE_TRAINING_CORPUS=/corpus WORDTALE_TRAINING_FOLDER=/data/training
VOLUME ["/data", "/corpus"]
HEALTHCHECK NONE
CMD ["wordtale", "train", "background"]
