import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { secureHeaders } from 'hono/secure-headers'
import { ServiceError } from '../errors.ts'
import { html } from './html.ts'
import { document } from './document.ts'
import { Pages, type PortalParts } from './pages.ts'
import { addCertificatePages } from './pages/certificates.ts'
import { addDevicePages } from './pages/devices.ts'
import { addEnrollmentPages } from './pages/enrollments.ts'
import { addFaultPages } from './pages/faults.ts'
import { addJobPages } from './pages/jobs.ts'
import { addOverviewPage } from './pages/overview.ts'
import { addRegistrationPages } from './pages/registrations.ts'
import { icon, stylesheet } from './stylesheet.ts'

/** Two certificates with their chains fit in several times over. */
const largestForm = 256 * 1024

/** The portal as a Hono app. */
export function portalApp(parts: PortalParts): Hono {
  const { access, script } = parts
  const app = new Hono()
  app.use(access.ownHost, headers())
  app.get('/open', (context) => {
    if (access.enter(context, context.req.query('token'))) return context.redirect('/', 303)
    return context.text(
      'This is not the address of the portal that runs now: see what it has printed.\n',
      403,
    )
  })
  app.use(access.session, bodyLimit({ maxSize: largestForm, onError: tooLarge }), access.ownForm)

  app.get('/portal.css', (context) => context.body(stylesheet, 200, { 'content-type': 'text/css' }))
  app.get('/icon.svg', (context) => context.body(icon, 200, { 'content-type': 'image/svg+xml' }))
  app.get('/live.js', (context) => context.body(script, 200, { 'content-type': 'text/javascript' }))

  const pages = new Pages(app, parts)
  addOverviewPage(pages, parts)
  addEnrollmentPages(pages, parts)
  addCertificatePages(pages, parts)
  addRegistrationPages(pages, parts)
  addDevicePages(pages, parts)
  addJobPages(pages, parts)
  addFaultPages(pages, parts)

  app.notFound(() => {
    throw new ServiceError(404, 404000, 'There is no such page.')
  })
  app.onError((error, context) => {
    const status = error instanceof ServiceError ? error.status : 500
    context.status(status as Parameters<typeof context.status>[0])
    const title = status === 404 ? 'Not found' : 'This did not work'
    const body = (): ReturnType<typeof html> => html`<p>${error.message}</p>`
    return context.html(
      document({ title, section: 'overview', path: '', body }, access.csrf, { isLive: false }),
    )
  })
  return app
}

function tooLarge(): never {
  throw new ServiceError(413, 413001, `A form has at most ${largestForm} bytes, files included.`)
}

/** Nothing from anywhere else, nothing inline, in nobody's frame, and nothing kept. */
function headers(): ReturnType<typeof secureHeaders> {
  const secure = secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'"],
      connectSrc: ["'self'"],
      formAction: ["'self'"],
      frameAncestors: ["'none'"],
      baseUri: ["'none'"],
    },
    xFrameOptions: 'DENY',
    referrerPolicy: 'no-referrer',
    // There is no TLS on the loopback address to insist on.
    strictTransportSecurity: false,
  })
  return async (context, next) => {
    context.header('cache-control', 'no-store')
    return secure(context, next)
  }
}
