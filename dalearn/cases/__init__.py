"""Set-ups of papers, importable, with the scores that they document.

    from dalearn.cases import sakov2008
    print(sakov2008)
    problem = sakov2008.problem(cycles=1000, batch=20)

The modules `lorenz63`, `shallow_water` and `ldnet_adr` train the networks that come with the
package.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
