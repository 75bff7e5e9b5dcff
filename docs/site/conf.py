"""Sphinx's settings for the site, which docs/make_site.py builds."""

import contextlib
import inspect
import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import ragkit

project = "ragkit"
version = release = ragkit.__version__
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_codeautolink", "sphinx_copybutton"]
root_doc = "index"

# Outputs as they are committed: nothing is run, and no widget's script is fetched.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
# A lesson may go from # to ###, and show code with a gap ("…") in it, which is then neither coloured nor linked.
suppress_warnings = ["myst.header", "misc.highlighting_failure", "codeautolink.parse_block", "codeautolink.clean_block"]

html_theme = "furo"
html_title = "ragkit"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_copyright = False
html_permalinks_icon = "#"
blue, sky = "#0067a6", "#6cb8f0"
html_theme_options = {
    "top_of_page_buttons": [],
    "navigation_with_keys": True,
    "light_css_variables": {
        "color-brand-primary": blue,
        "color-brand-content": blue,
        "color-api-name": blue,
        "color-api-pre-name": "#5a5c63",
        "color-code-background": "#f6f7f9",
    },
    "dark_css_variables": {
        "color-brand-primary": sky,
        "color-brand-content": sky,
        "color-api-name": sky,
        "color-api-pre-name": "#9ca0a5",
    },
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
html_math_renderer = "mathml"

default_role = "py:obj"  # what stands in backticks in a docstring: a link where it is a name, else code
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
codeautolink_concat_default = True
codeautolink_global_preface = "import ragkit"


def as_text(app, what, name, value, options, lines):
    """Have a docstring read as it was meant: "nDCG@10" is no address, and what explains an argument names it."""
    lines[:] = [line if is_code(line) else re.sub(r"(?<=\w)@(?=\w)", r"\@", line) for line in lines]
    known = set(getattr(value, "__annotations__", ()))
    with contextlib.suppress(TypeError, ValueError):  # what has no signature
        known |= set(inspect.signature(value).parameters)
    if not known:
        return
    either = "|".join(sorted(map(re.escape, known), key=len, reverse=True))
    explained = re.compile(rf"(?:^|(?<=[.;,] ))({either})(?=(?:, \w+)*: )")
    lines[:] = [line if is_code(line) else explained.sub(r"**\1**", line) for line in lines]


def is_code(line):
    return line.lstrip().startswith((">>>", "..."))


def show_math(display):
    """Return what writes a formula as MathML, which browsers draw without a script."""

    def visit(translator, node):
        formula = tex2mathml(node.astext(), as_block=display)
        translator.body.append(f'<div class="math">{formula}</div>' if display else formula)
        raise nodes.SkipNode

    return visit, None


def finish_page(app, doctree, docname):
    """Mark tables of short cells, so that "0.601 to 0.692" stays in one line; say what codeautolink folds away."""
    for table in doctree.findall(nodes.table):
        if all(len(cell.astext()) <= 40 for row in table.findall(nodes.tbody) for cell in row.findall(nodes.entry)):
            table["classes"].append("figures")
    for text in list(doctree.findall(nodes.Text)):
        if text == "Expand for references to ":
            text.parent.replace(text, nodes.Text("Where it is used: "))


def setup(app):
    app.connect("doctree-resolved", finish_page, priority=900)  # after codeautolink
    app.connect("autodoc-process-docstring", as_text)
    app.add_html_math_renderer("mathml", show_math(False), show_math(True))
