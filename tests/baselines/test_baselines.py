"""Every baseline, on real text and real encoders."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from finetune.base.errors import UserError
from finetune.base.params_training import Baseline, FewShot, ZeroShot
from finetune.baselines import regression
from finetune.baselines.frozen import best_draw, few_shot, few_shot_block, untrained
from finetune.baselines.prompting import CannotTell, filled_mask, fills_masks, label_words, prompt_rows, similar_prompt
from finetune.baselines.regression import STRENGTHS, Labelled, best_regression, fitted_regression, majority
from finetune.baselines.tfidf import tfidf
from finetune.baselines.with_encoder import ENCODER_BASELINES, encoder_baselines
from finetune.encoder.models import mask_filler
from finetune.rows.tokens import load_tokenizer
from tests.support.rows import tokenised
from tests.support.tiny import LENGTH, bert_tokenizer, reviews, tiny_checkpoint

NAMES = ["bad", "good"]
TEMPLATES = ["{text} it was {label}.", "{label}: {text}"]


def split(count: int, seed: int = 0):
    return tokenised(bert_tokenizer(), reviews(count, seed), NAMES)


def test_majority_gives_the_class_frequencies_of_train():
    """One row of class 0, three of class 2."""
    assert majority(np.array([0, 2, 2, 2]), rows=2, classes=3).tolist() == [[0.25, 0, 0.75]] * 2


def test_tfidf_finds_the_words_that_give_the_label_away():
    test = split(80, seed=3)
    probabilities = tfidf(split(200, seed=1), split(60, seed=2), test)
    assert probabilities.shape == (80, 2)
    assert probabilities.sum(1) == pytest.approx(1)
    assert (probabilities.argmax(1) == test["label"][:]).mean() > 0.95


def test_tfidf_reads_texts_without_spaces():
    """The character 好 or 坏 decides the label; split into words, every text would be unknown."""
    signs = "这部电影的故事演员情节真是看后觉得"
    random = np.random.default_rng(0)

    def chinese(count):
        rows = []
        for index in range(count):
            text = list(random.choice(list(signs), 12))
            text[random.integers(12)] = "坏好"[index % 2]
            rows.append({"text": "".join(text), "label": NAMES[index % 2]})
        return tokenised(bert_tokenizer(), rows, NAMES)

    test = chinese(50)
    assert (tfidf(chinese(200), chinese(50), test).argmax(1) == test["label"][:]).mean() > 0.9


@pytest.mark.parametrize("marks", ["😀😭", "!?"])
@pytest.mark.parametrize("words", [0, 40])
def test_tfidf_reads_texts_without_words(marks, words):
    """One mark decides the label, between marks that do not; few or none of the texts hold a word."""
    random = np.random.default_rng(0)

    def texts(count):
        rows = []
        for index in range(count):
            signs = [*random.choice(list("…;😐%"), 3), marks[index % 2]]
            random.shuffle(signs)
            rows.append({"text": " ".join(signs) + (" film" if index < words else ""), "label": NAMES[index % 2]})
        return tokenised(bert_tokenizer(), rows, NAMES)

    test = texts(50)
    assert (tfidf(texts(100), texts(50), test).argmax(1) == test["label"][:]).all()


def test_the_strength_is_chosen_on_validation():
    """40 training rows with 30 features of noise: training accuracy would choose the weakest regularisation."""
    random = np.random.default_rng(0)

    def labelled(count):
        labels = random.integers(0, 2, count)
        return Labelled(
            np.column_stack([labels + random.normal(0, 1, count), random.normal(0, 1, (count, 30))]), labels
        )

    train, validation = labelled(40), labelled(2000)
    _, strength = best_regression(train, validation)
    scores = {C: fitted_regression(*train, C).score(*validation) for C in STRENGTHS}
    assert scores[strength] == max(scores.values())
    assert strength < 100


def test_a_sample_chooses_the_strength_for_many_rows_and_all_are_fitted(monkeypatch):
    """As many rows as the limit are all used to choose; beyond it, the model is still that of all rows."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 400)
    train = Labelled(np.column_stack([labels + random.normal(0, 1, 400), random.normal(0, 1, (400, 30))]), labels)
    monkeypatch.setattr(regression, "MOST_TO_CHOOSE", 40)
    model, strength = best_regression(train, train)
    assert strength in STRENGTHS
    assert np.array_equal(model.coef_, fitted_regression(*train, strength).coef_)
    monkeypatch.setattr(regression, "MOST_TO_CHOOSE", 400)
    scores = {C: fitted_regression(*train, C).score(*train) for C in STRENGTHS}
    assert scores[best_regression(train, train)[1]] == max(scores.values())


def test_every_draw_of_few_shot_has_other_examples_and_their_spread_is_reported():
    random = np.random.default_rng(0)
    labels = np.arange(300) % 3
    features = np.eye(3)[labels] + random.normal(0, 0.4, (300, 3))
    train, test = Labelled(features[:200], labels[:200]), Labelled(features[200:], labels[200:])
    draws = few_shot(train, test.features, 3, FewShot(per_class=4, draws=5), seed=1)
    assert draws.shape == (5, 100, 3)
    assert len({draw.tobytes() for draw in draws}) == 5
    block = few_shot_block(test.labels, draws, ["a", "b", "c"])
    accuracies = [(draw.argmax(1) == test.labels).mean() for draw in draws]
    assert block["accuracy"] == pytest.approx(np.mean(accuracies))
    assert block["std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert (block["rows"], block["draws"]) == (100, 5)
    assert (best_draw(test.labels, draws).argmax(1) == test.labels).mean() == max(accuracies)
    assert all(isinstance(part["rows"], int) for part in block["per_class"].values())
    # Other draws would move the mean too: its standard error over draws is std / sqrt(5), twice on either side.
    spread = block["interval"]["high"] - block["interval"]["low"]
    assert spread > 3 * block["std"] / 5**0.5


def test_zero_shot_takes_the_most_similar_prompt():
    """The first two texts have the directions of the two prompts; the third is nearer to the first prompt."""
    probabilities = similar_prompt(np.array([[2.0, 0], [0, 5.0]]), np.array([[9.0, 0], [0, 1.0], [2.0, 1.0]]))
    assert probabilities.argmax(1).tolist() == [0, 1, 0]
    assert probabilities.sum(1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("prompts", "words"), [(None, ["bad", "good"]), ({"good": "fine", "bad": "poor"}, ["poor", "fine"])]
)
def test_prompts_come_in_the_order_of_the_labels(prompts, words):
    assert label_words(NAMES, ZeroShot(prompts=prompts, template=TEMPLATES[0])) == words


def test_a_prompt_for_an_unknown_label_is_an_error():
    with pytest.raises(UserError, match="one prompt for each of the labels bad, good .*, found bad, god"):
        label_words(NAMES, ZeroShot(prompts={"bad": "x", "god": "y"}, template=TEMPLATES[0]))


@pytest.mark.parametrize(
    ("family", "template"),
    [(family, template) for family in ("bert", "roberta", "modernbert") for template in TEMPLATES],
)
def test_zero_shot_reads_the_label_at_the_mask_of_the_template(family, template, tmp_path):
    """The same probabilities as from a filled-in template, text by text, for texts that fit."""
    folder = tiny_checkpoint(tmp_path, family, masked=True)
    tokenizer = load_tokenizer(folder)
    model = mask_filler(folder)
    assert fills_masks(model.config, tokenizer)
    rows = [row for row in reviews(40) if len(row["text"].split()) < 12][:12]
    test = tokenised(tokenizer, rows, NAMES)
    settings = ZeroShot(prompts=None, template=template)
    probabilities = filled_mask(folder, tokenizer, test, settings, LENGTH)

    words = [tokenizer(f" {name}", add_special_tokens=False)["input_ids"][0] for name in NAMES]
    for text, answer in zip(test["text"][:], probabilities, strict=True):
        filled = template.replace("{label}", tokenizer.mask_token).replace("{text}", text)
        ids = tokenizer(filled, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            logits = model.eval()(input_ids=ids).logits[0, (ids[0] == tokenizer.mask_token_id).nonzero()[0, 0], words]
        assert answer == pytest.approx(logits.softmax(0).numpy(), abs=1e-5)


def test_a_text_is_cut_so_that_the_template_fits(tmp_path):
    folder = tiny_checkpoint(tmp_path, masked=True)
    tokenizer = load_tokenizer(folder)
    rows = [{"text": "the film " * 50, "label": "bad"}, {"text": "the film", "label": "good"}]
    settings = ZeroShot(prompts=None, template=TEMPLATES[0])
    probabilities = filled_mask(folder, tokenizer, tokenised(tokenizer, rows, NAMES), settings, max_length=16)
    assert np.isfinite(probabilities).all()
    with pytest.raises(CannotTell, match=r"baseline\.zero_shot\.template leaves no room for a text within 6 tokens"):
        filled_mask(folder, tokenizer, tokenised(tokenizer, rows, NAMES), settings, max_length=6)


def test_labels_with_the_same_first_token_cannot_be_told_apart(tmp_path):
    folder = tiny_checkpoint(tmp_path, masked=True)
    tokenizer = load_tokenizer(folder)
    rows = tokenised(tokenizer, [{"text": "a", "label": "great film"}], ["great film", "great story"])
    with pytest.raises(CannotTell, match="^the labels great film and great story begin with the same token$"):
        filled_mask(folder, tokenizer, rows, ZeroShot(prompts=None, template=TEMPLATES[0]), 32)


def test_prompts_with_the_same_tokens_cannot_be_told_apart():
    """Both labels are unknown to the tokenizer."""
    settings = ZeroShot(prompts=None, template=TEMPLATES[0])
    with pytest.raises(CannotTell, match="^the prompts of the labels 差 and 好 have the same tokens$"):
        prompt_rows(bert_tokenizer(), ["差", "好"], settings, LENGTH)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("skip", [[name] for name in ENCODER_BASELINES] + [list(ENCODER_BASELINES), []])
def test_a_skipped_baseline_is_left_out_and_changes_no_other(masked, skip, tmp_path):
    folder = tiny_checkpoint(tmp_path, masked=masked)
    tokenizer = load_tokenizer(folder)
    splits = {
        name: split(rows, seed) for seed, (name, rows) in enumerate({"train": 40, "validation": 20, "test": 20}.items())
    }

    def answers(skip):
        settings = Baseline(
            skip=skip,
            seed=1,
            zero_shot=ZeroShot(prompts=None, template=TEMPLATES[0]),
            few_shot=FewShot(per_class=2, draws=2),
        )
        return encoder_baselines(folder, splits, tokenizer, settings)

    probabilities, reasons = answers(skip)
    assert list(probabilities) == [name for name in ENCODER_BASELINES if name not in skip]
    assert reasons == {}
    whole = answers([])[0]
    assert all(np.array_equal(rows, whole[name]) for name, rows in probabilities.items())


def test_a_checkpoint_without_its_mask_head_fills_no_masks(tiny_bert):
    assert not fills_masks(AutoConfig.from_pretrained(tiny_bert), load_tokenizer(tiny_bert))


def test_the_untrained_head_gives_probabilities(tiny_bert):
    probabilities = untrained(tiny_bert, split(60), pad_id=0, seed=1)
    assert probabilities.shape == (60, 2)
    assert probabilities.sum(1) == pytest.approx(1)
