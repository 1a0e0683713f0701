# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smallest PyAMS application that reads and writes: GET and PUT /values/NAME, kept in its site."""

from persistent.mapping import PersistentMapping
from pyams_site.site import BaseSiteRoot, site_factory
from pyramid.config import Configurator
from zope.annotation.interfaces import IAttributeAnnotatable
from zope.interface import implementer


@implementer(IAttributeAnnotatable)
class Site(BaseSiteRoot):
    """What pyams_upgrade creates."""

    def __init__(self):
        super().__init__()
        self.values_by_name = PersistentMapping()


def read(request):
    """Return a value, null if there is none."""
    return {"value": site_factory(request).values_by_name.get(request.matchdict["name"])}


def write(request):
    """Store a value and return it."""
    value = site_factory(request).values_by_name[request.matchdict["name"]] = request.json_body
    return {"value": value}


def main(global_config, **settings):
    """Make the WSGI application."""
    config = Configurator(settings={"pyams.application_factory": Site, **settings})
    config.hook_zca()
    for package in ("pyramid_tm", "pyramid_zodbconn", "cornice", "cornice_swagger", "pyramid_rpc.xmlrpc"):
        config.include(package)
    config.include("pyams_utils")
    config.include("pyams_site")
    config.add_route("value", "/values/{name}")
    config.add_view(read, route_name="value", request_method="GET", renderer="json")
    config.add_view(write, route_name="value", request_method="PUT", renderer="json")
    return config.make_wsgi_app()
