# Copyright: (c) 2026, pyams.zodb contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The smallest PyAMS application that reads and writes: GET and PUT /values/NAME, kept in the site's folder."""

from pyams_site.site import site_factory
from pyramid.config import Configurator


def read(request):
    return {"value": site_factory(request).values.get(request.matchdict["name"])}


def write(request):
    site = site_factory(request)
    site.values = {**site.values, request.matchdict["name"]: request.json_body}
    return {"value": request.json_body}


def main(global_config, **settings):
    config = Configurator(settings=settings)
    for package in ("pyramid_tm", "pyramid_zodbconn", "cornice", "cornice_swagger", "pyramid_rpc.xmlrpc", "pyams_utils", "pyams_site"):
        config.include(package)
    config.add_route("value", "/values/{name}", factory=lambda request: None)
    config.add_view(read, route_name="value", request_method="GET", renderer="json")
    config.add_view(write, route_name="value", request_method="PUT", renderer="json")
    return config.make_wsgi_app()
