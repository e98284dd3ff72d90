import { TLSSocket } from 'node:tls'
import { Hono, type Context } from 'hono'
import { ServiceError } from '../errors.ts'
import { estErrors, refusal } from '../http/error-style.ts'
import type { HttpApp } from '../http/http-front.ts'
import { readBody } from '../http/request-body.ts'
import type { HttpEnvironment } from '../http/service-app.ts'
import type { Enrollment, SimulatedEstServer } from './est-server.ts'

/** The largest request, in bytes; one with a key of 4,096 bits has some two thousand. */
const largestRequest = 64 * 1024

/** Whether a path is one of an EST server (RFC 7030, 3.2.2). */
export function isEstPath(path: string): boolean {
  return /^\/\.well-known\/est(?:\/|$)/.test(path)
}

/** An EST server over HTTP. Refusals are plain text (RFC 8951, 5). */
export function estApp(server: SimulatedEstServer, now: () => number): HttpApp {
  const app = new Hono<HttpEnvironment>()
  app.onError((error) =>
    refusal(
      error instanceof ServiceError
        ? error
        : new ServiceError(500, 500001, `Internal error: ${error.message}`),
      estErrors,
      now(),
    ),
  )
  app.notFound(() => {
    throw new ServiceError(404, 404000, 'There is nothing under this path.')
  })
  const both = (operation: string): string[] => [
    `/.well-known/est/${operation}`,
    `/.well-known/est/:label/${operation}`,
  ]
  for (const path of both('cacerts'))
    app.get(path, async (context) => message(context, await server.cacerts(labelOf(context)), ''))
  for (const path of both('csrattrs'))
    app.get(path, (context) => {
      const attributes = server.csrattrs(labelOf(context))
      if (attributes === undefined) return context.body(null, 204)
      return context.body(attributes, 200, { 'content-type': 'application/csrattrs', ...encoding })
    })
  for (const operation of ['simpleenroll', 'simplereenroll'] as const)
    for (const path of both(operation)) app.post(path, async (context) => enroll(context, server, operation))
  for (const operation of ['fullcmc', 'serverkeygen'])
    for (const path of both(operation))
      app.post(path, () => {
        throw new ServiceError(501, 501000, `This server has no ${operation}.`)
      })
  const methods = { cacerts: 'GET', csrattrs: 'GET', simpleenroll: 'POST', simplereenroll: 'POST' }
  for (const [operation, method] of Object.entries(methods))
    for (const path of both(operation))
      app.all(path, () => {
        const answer = refusal(new ServiceError(405, 405000, `Expected ${method}.`), estErrors, now())
        answer.headers.set('allow', method)
        return answer
      })
  return app
}

// What RFC 7030 has and RFC 8951 tells everybody to ignore: older clients look for it.
const encoding = { 'content-transfer-encoding': 'base64' }

async function enroll(
  context: Context<HttpEnvironment>,
  server: SimulatedEstServer,
  operation: Enrollment['operation'],
): Promise<Response> {
  const type = context.req.header('content-type') ?? ''
  if (!/^application\/pkcs10(?: *;|$)/i.test(type))
    throw new ServiceError(415, 415000, `Expected application/pkcs10, got "${type}".`)
  const { socket } = context.env.incoming
  if (!(socket instanceof TLSSocket)) throw new ServiceError(403, 403000, 'Expected TLS.')
  const answer = await server.enroll({
    operation,
    label: labelOf(context),
    body: await readBody(context, largestRequest),
    authorization: context.req.header('authorization'),
    socket,
  })
  switch (answer.kind) {
    case 'issued':
      return message(context, answer.message, '; smime-type=certs-only')
    case 'pending':
      return context.body('The request waits for approval.\n', 202, {
        'content-type': 'text/plain',
        'retry-after': answer.retryAfter,
      })
  }
}

function message(context: Context<HttpEnvironment>, body: string, parameter: string): Response {
  return context.body(body, 200, { 'content-type': `application/pkcs7-mime${parameter}`, ...encoding })
}

function labelOf(context: Context<HttpEnvironment>): string {
  return context.req.param('label') ?? ''
}
