"""scikit-learn estimators and pipelines over one numeric matrix, from skops files or, if allowed, pickles."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import skl2onnx  # type: ignore[import-untyped]
import sklearn  # type: ignore[import-untyped]
from onnx import ModelProto
from skl2onnx.common.data_types import FloatTensorType  # type: ignore[import-untyped]
from sklearn.base import is_classifier, is_regressor  # type: ignore[import-untyped]
from sklearn.exceptions import NotFittedError  # type: ignore[import-untyped]
from sklearn.utils.validation import check_is_fitted  # type: ignore[import-untyped]

from model_packager.errors import ExportFailed, InvalidUsage
from model_packager.export.sources import SourceInfo, SourceOptions
from model_packager.export.tensors import Array, Arrays

ML_OPSET = 3  # the newest ai.onnx.ml that every supported server loads
DEFAULT_INPUT = "input"


class SklearnSource:
    """Implements :class:`model_packager.export.sources.Source` for an estimator."""

    def __init__(self, estimator: Any, info: SourceInfo, options: SourceOptions) -> None:
        self.info = info
        self._estimator = estimator
        self._opset = options.opset

    def example(self) -> Arrays | None:
        features = getattr(self._estimator, "n_features_in_", None)
        if features is None:
            return None
        return {DEFAULT_INPUT: np.random.default_rng(0).standard_normal((4, features)).astype(np.float32)}

    def convert(self, sample: Arrays) -> ModelProto:
        if len(sample) != 1 or next(iter(sample.values())).ndim != 2:
            raise InvalidUsage("A scikit-learn sample must hold one array of two dimensions: rows and features.")
        ((name, matrix),) = sample.items()
        try:
            try:
                return self._convert(name, matrix.shape[1], zipmap=is_classifier(self._estimator))
            except NameError:  # how skl2onnx says that this classifier has no probabilities to put in maps
                return self._convert(name, matrix.shape[1], zipmap=False)
        except Exception as error:
            first = (str(error).splitlines() or [""])[0][:300]
            raise ExportFailed(f"skl2onnx could not convert the estimator: {type(error).__name__}: {first}") from error

    def _convert(self, name: str, features: int, *, zipmap: bool) -> ModelProto:
        converted: ModelProto = skl2onnx.convert_sklearn(
            self._estimator,
            name="model",
            initial_types=[(name, FloatTensorType([None, features]))],
            target_opset={"": self._opset, "ai.onnx.ml": ML_OPSET},
            # Switched on by default, it makes a sequence of maps of the probabilities, which cannot be served.
            options={id(self._estimator): {"zipmap": False}} if zipmap else None,
        )
        return converted

    def answer(self, inputs: Arrays) -> list[Array]:
        matrix = next(iter(inputs.values())).astype(np.float32)
        model = self._estimator
        if is_classifier(model):
            scores = model.predict_proba(matrix) if hasattr(model, "predict_proba") else model.decision_function(matrix)
            return [np.asarray(model.predict(matrix)), np.asarray(scores)]
        if is_regressor(model):
            predicted = np.asarray(model.predict(matrix))
            return [predicted.reshape(len(matrix), -1)]
        return [np.asarray(model.transform(matrix))]

    def labels(self) -> tuple[str, ...] | None:
        classes = getattr(self._estimator, "classes_", None)
        return None if classes is None or np.ndim(classes) != 1 else tuple(str(value) for value in classes)


def load_estimator(path: Path, options: SourceOptions) -> SklearnSource:
    """Load ``.skops``, or a pickle if ``allow_pickle``. Raises InvalidUsage if the file asks for more trust."""
    data = path.read_bytes()
    is_skops = path.suffix.lower() == ".skops"
    if not is_skops and not options.allow_pickle:
        raise InvalidUsage(
            f"{path} is a pickle: loading it runs whatever code its author put in. Save the estimator with skops, or "
            "pass --allow-pickle if you trust the file as you would trust a program."
        )
    try:
        estimator = _load_skops(data, path, options.trust) if is_skops else _load_pickle(path)
    except InvalidUsage:
        raise
    except Exception as error:
        raise ExportFailed(f"{path} could not be loaded: {type(error).__name__}: {str(error)[:300]}") from error
    kind = type(estimator).__name__
    if not hasattr(estimator, "fit"):
        raise InvalidUsage(f"{path} holds a {kind}, which is no scikit-learn estimator.")
    if not (is_classifier(estimator) or is_regressor(estimator) or hasattr(estimator, "transform")):
        raise InvalidUsage(f"{path} holds a {kind}, which is no classifier, regressor or transformer.")
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise InvalidUsage(f"{path} holds a {kind} that is not fitted; call fit before saving it.") from error
    info = SourceInfo(
        framework="sklearn",
        version=sklearn.__version__,
        format="skops" if is_skops else "pickle",
        content_digest=hashlib.sha256(data).hexdigest(),
        tools={"skl2onnx": skl2onnx.__version__},
    )
    return SklearnSource(estimator, info, options)


def _load_skops(data: bytes, path: Path, trust: tuple[str, ...]) -> Any:
    import skops.io  # type: ignore[import-untyped]

    unknown = sorted(set(skops.io.get_untrusted_types(data=data)) - set(trust))
    if unknown:
        raise InvalidUsage(
            f"{path} holds types that are not known to be safe: {', '.join(unknown)}. If you trust them, pass "
            f"{' '.join(f'--trust {name}' for name in unknown)}."
        )
    return skops.io.loads(data, trusted=list(trust))


def _load_pickle(path: Path) -> Any:
    import joblib  # type: ignore[import-untyped]

    return joblib.load(path)
