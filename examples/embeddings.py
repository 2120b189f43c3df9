"""A scikit-learn classifier on folders of your own, one a class: python embeddings.py FOLDER."""

import sys

from sklearn.datasets import load_files
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dcasenet.sklearn import Embedder

if len(sys.argv) != 2:
    raise SystemExit(__doc__)

data = load_files(sys.argv[1], load_content=False, random_state=0)
embeddings = Embedder().fit_transform(data.filenames)  # once, as nothing in it is learned

classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
scores = cross_val_score(classifier, embeddings, data.target, cv=2)
print(f"{len(data.filenames)} files, {len(data.target_names)} classes: {scores.mean():.2f} right")

pipeline = make_pipeline(Embedder(), classifier).fit(data.filenames, data.target)
print("the first is", data.target_names[pipeline.predict(data.filenames[:1])[0]])
