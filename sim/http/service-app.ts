import { randomUUID } from 'node:crypto'
import type { HttpBindings } from '@hono/node-server'
import { Hono, type MiddlewareHandler } from 'hono'
import { ServiceError } from '../errors.ts'
import { written, type ErrorStyle } from './error-style.ts'

/** The environment of every app: the Node request, for its socket and its certificates. */
export interface HttpEnvironment {
  readonly Bindings: HttpBindings
}

/** A service over HTTP. */
export type ServiceApp = Hono<HttpEnvironment>

/** How a service behaves beyond its routes. */
export interface ServiceAppOptions {
  readonly errors: ErrorStyle
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Which segments of the path are words of the API (counted from 0): these are the same in either case. */
  readonly words: readonly number[]
}

/**
 * An app that answers as Azure's services do: a request id on every answer, errors in the service's style, paths in
 * either case and with a slash at the end or without. Handlers throw {@link ServiceError} to refuse.
 */
export function createServiceApp({ errors, now, words }: ServiceAppOptions): ServiceApp {
  const app = new Hono<HttpEnvironment>({ getPath: (request) => routedPath(request.url, words) })
  app.use(async (context, next) => {
    await next()
    context.header('x-ms-request-id', randomUUID())
    context.header('date', new Date(now()).toUTCString())
  })
  app.onError((error, context) => {
    const known =
      error instanceof ServiceError
        ? error
        : new ServiceError(500, 500001, `Internal error: ${error.message}`)
    const { text, headers } = written(known, errors, now())
    for (const [name, value] of Object.entries(headers)) context.header(name, value)
    context.status(known.status as Parameters<typeof context.status>[0])
    return context.body(text)
  })
  app.notFound(() => {
    throw new ServiceError(404, 404000, 'There is nothing under this path.')
  })
  return app
}

/** Refuses requests whose `api-version` is missing or none of these, which a service has had. */
export function requireApiVersion(known: readonly string[]): MiddlewareHandler<HttpEnvironment> {
  return async (context, next) => {
    const version = context.req.query('api-version')
    if (version === undefined || !known.includes(version.toLowerCase())) {
      throw new ServiceError(
        400,
        400001,
        `The api-version "${version ?? ''}" is not supported: expected one of ${known.join(', ')}.`,
      )
    }
    await next()
  }
}

/** The path with the words of the API in lower case and no slash at the end. */
function routedPath(url: string, words: readonly number[]): string {
  const [, path = ''] = /^[a-z]+:\/\/[^/?#]*\/([^?#]*)/i.exec(url) ?? []
  const segments = path.replace(/\/+$/, '').split('/')
  return `/${segments.map((segment, index) => (words.includes(index) ? segment.toLowerCase() : segment)).join('/')}`
}
