"""Transformations of graphs: the backward half under a table of rules, and simplifications."""

from ._adaptive import expand_adaptive_pool as expand_adaptive_pool
from ._backward import backward as backward
from ._batch_norm import expand_batch_norm_training as expand_batch_norm_training
from ._channels import channels_first_layers as channels_first_layers
from ._context import Context as Context
from ._dropout import expand_dropout as expand_dropout
from ._emit import Emitter as Emitter
from ._interpolate import ResizePlan as ResizePlan
from ._interpolate import resize_plan as resize_plan
from ._normal import NORMALISATIONS as NORMALISATIONS
from ._normal import expand_norm as expand_norm
from ._rules import Composite as Composite
from ._rules import Gradients as Gradients
from ._rules import Rule as Rule
from ._rules import Rules as Rules
from ._rules import RuleTable as RuleTable
from ._rules import broadcasting as broadcasting
from ._rules import rule_notes as rule_notes
from ._simplify import eliminate_common as eliminate_common
from ._simplify import fold_constants as fold_constants
from ._simplify import prune as prune
from ._tables import DECONVNET as DECONVNET
from ._tables import GRADIENT as GRADIENT
from ._tables import GUIDED as GUIDED
from ._tables import TABLES as TABLES
from ._tables import rule_table as rule_table
