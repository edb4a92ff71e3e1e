"""The contrast of OCILNER (ACL 2023), around any tag method: words of one class lie close, those of others apart.

    L = L_base  +  weight * mean over anchors i of -mean over p in P(i) of
        log( exp(u_i . u_p / T) / sum_{a in A(i)} exp(u_i . u_a / T) )

    u     the word's state at unit length
    y~    the class: the tag of an annotated word, elsewhere the teacher's tag, if it is old and sure, or else O
    P(i)  the other words of the batch with y~_i; for an O word, the other O words whose cosine exceeds tau
    A(i)  all other words of the batch; for an O word, P(i) and the words of classes
    tau   the median over classes of the least cosine between a word of the class and its mean

An anchor is a word of a class and, with `outside`, of O, that has a P(i). O words are many things, later types among
them: only those that are about as near to each other as the words of a class are drawn together, and none is pushed
away from another. The mean of a class has words of this batch alone, so a class of one word has no say in tau.

OCILNER contrasts entities first and O as well later: `outside` false and true. What differs here: u is a learned
projection to 128 dimensions there; tau is computed from the sentences of its memory, and a word is relabelled where a
prototype is near, at a threshold that falls by 0.05 a step; the first step has the contrast too; BCE is its base, and
it predicts by the nearest mean. Five kept sentences a type are `scenario.memory.size=5`.
A frozen encoder has no states to move. All words of a batch are compared: one worker must see it whole.
Source: https://arxiv.org/abs/2210.04676 and its code. Shapes: B sentences, T words, C tags, N labelled words.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from raycner.methods.method import METHODS, Method, Student, Teacher, TeacherOutputs
from raycner.methods.wrapper import Wrapper
from raycner.networks import losses
from raycner.networks.batch import Batch
from raycner.networks.heads.tag_head import TagHead, TagOutput
from raycner.networks.heads.tag_set import O
from raycner.networks.losses import IGNORE, LossSum


@METHODS.register("contrastive")
class Contrastive(Wrapper[TagOutput]):
    """Draw the words of a class together, and those of different classes apart."""

    heads = (TagHead,)

    base: Method[TagOutput]
    """The wrapped method; required: `method.base.name=extend_ner`."""
    weight: float = 0.1
    """Of the contrast. It is in nats, like cross-entropy, and far from zero where classes have many words. INFERRED."""
    temperature: float = 0.07
    """T. Published: 0.07."""
    outside: bool = True
    """Contrast O words too, as in the second phase of OCILNER; without, words of classes alone, as in the first."""
    confidence: float = 0.98
    """The least probability with which the teacher's old tag is the class of an O word. Published: 0.98, the similarity
    to a prototype there."""

    def __post_init__(self) -> None:
        if self.weight < 0 or self.temperature <= 0:
            raise ValueError("weight is not negative, and temperature is above 0")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence {self.confidence}: from 0 to 1")
        if not issubclass(TagHead, self.base.heads):
            raise ValueError(f"{self.base.name} does not train tag heads, so contrastive cannot wrap it")
        if "contrastive" in self.base.label:
            raise ValueError("words are contrasted once, so contrastive cannot wrap itself")

    @property
    def batch_dependent(self) -> bool:
        return self.weight > 0 or self.base.batch_dependent

    @property
    def needs_trained_encoder(self) -> bool:
        return self.weight > 0 or self.base.needs_trained_encoder

    @property
    def teacher_outputs(self) -> TeacherOutputs[TagOutput]:
        own: TeacherOutputs[TagOutput] = {"sure_tag": self._sure_tag} if self.weight > 0 else {}
        return {**self.base.teacher_outputs, **own}

    def _sure_tag(self, output: TagOutput) -> Tensor:
        """[B, T] the tag of the teacher where it is sure, O elsewhere."""
        confidence, tag = output.logits.softmax(-1).max(-1)
        return tag.where(confidence >= self.confidence, O)

    def losses(self, student: Student[TagOutput], teacher: Teacher[TagOutput], batch: Batch) -> dict[str, LossSum]:
        terms = self.base.losses(student, teacher, batch)
        if self.weight == 0:
            return terms
        y = batch.targets
        classes = torch.where(y == O, teacher.recall("sure_tag", batch), y)
        labelled = y != IGNORE
        if batch.unknown is not None:  # an O word there may be of a new type
            labelled &= (classes > O) | ~batch.unknown.any(-1, keepdim=True)
        output = student(batch)
        units = F.normalize(losses.rows(output.states, labelled), dim=-1)
        alike, compared = self.pairs(units.detach(), losses.rows(classes, labelled), output.logits.size(-1))
        return terms | {"contrast": self.weight * losses.contrast(units, alike, compared, self.temperature)}

    def pairs(self, units: Tensor, classes: Tensor, num_tags: int) -> tuple[Tensor, Tensor]:
        """Two of [N, N]: the words in P(i), and those in A(i), of each word i."""
        in_class, same = classes > O, classes[:, None] == classes
        near = units @ units.T > usual_distance(units, classes, num_tags)
        alike = same & (in_class | near if self.outside else in_class)
        compared = alike | in_class | in_class[:, None]
        other = ~torch.eye(len(units), dtype=torch.bool, device=units.device)
        return alike & other, compared & other


def usual_distance(units: Tensor, classes: Tensor, num_tags: int) -> Tensor:
    """[] tau, the median over classes of two words and more of the least cosine to the mean; NaN if there is none."""
    members = classes == torch.arange(O + 1, num_tags, device=classes.device)[:, None]  # [C - 1, N]
    means = F.normalize(members.to(units.dtype) @ units, dim=-1)
    cosines = (means @ units.T).masked_fill(~members, float("inf"))
    least = F.pad(cosines, (0, 1), value=float("inf")).amin(-1)  # of no word: infinite
    return least.masked_fill(members.sum(-1) < 2, float("nan")).nanquantile(0.5)
