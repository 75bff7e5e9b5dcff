"""What shows itself as a widget where ipywidgets is there, and as text elsewhere."""

from typing import Any


class AsWidget:
    """A base class: `widget()` makes the widget, and raises ImportError where ipywidgets is missing."""

    def widget(self) -> Any:
        raise NotImplementedError

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        try:
            bundle = dict(self.widget()._repr_mimebundle_(**options))
        except ImportError:
            bundle = {}
        return bundle | {"text/plain": repr(self)}
