import type { Context } from 'hono'
import type { Next } from '../faults/next.ts'
import { provisioningErrors } from '../http/error-style.ts'
import { presentedBy } from '../http/peer.ts'
import { readBody } from '../http/request-body.ts'
import {
  createServiceApp,
  requireApiVersion,
  type HttpEnvironment,
  type ServiceApp,
} from '../http/service-app.ts'
import { deviceApiVersions } from './api-versions.ts'
import { asciiJson, type Answer } from './answer.ts'
import type { Caller, DropPoint, Responder } from './device-face.ts'
import type { DeviceRequest } from './request.ts'

/** What the HTTP face of DPS needs. */
export interface DeviceAppOptions {
  readonly respond: Responder
  readonly drops: Next<DropPoint>
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** DPS as devices see it over HTTP: the same requests as over MQTT, and the look-up of a registration. */
export function dpsDeviceApp({ respond, drops, now }: DeviceAppOptions): ServiceApp {
  const app = createServiceApp({ errors: provisioningErrors, now, words: [1, 3] })
  app.use(requireApiVersion(deviceApiVersions))

  const reply = (context: Context<HttpEnvironment>, request: DeviceRequest): Response => {
    const drop = drops.takeIf((point) => point !== 'connect')
    if (drop === 'request') return cut(context)
    const answer = respond(request, callerOf(context))
    return drop === 'answer' ? cut(context) : toResponse(context, answer, request)
  }

  app.put('/:idScope/registrations/:registrationId/register', async (context) =>
    reply(context, { kind: 'register', requestId: '', body: await readBody(context) }),
  )
  app.get('/:idScope/registrations/:registrationId/operations/:operationId', (context) =>
    reply(context, { kind: 'poll', requestId: '', operationId: context.req.param('operationId') }),
  )
  app.post('/:idScope/registrations/:registrationId', async (context) =>
    reply(context, { kind: 'lookup', requestId: '', body: await readBody(context) }),
  )
  return app
}

function callerOf(context: Context<HttpEnvironment>): Caller {
  const registrationId = context.req.param('registrationId') ?? ''
  return {
    userName: {
      idScope: context.req.param('idScope') ?? '',
      registrationId,
      apiVersion: context.req.query('api-version'),
    },
    clientId: registrationId,
    presented: presentedBy(context),
    token: context.req.header('authorization'),
    over: 'https',
  }
}

function toResponse(context: Context<HttpEnvironment>, answer: Answer, request: DeviceRequest): Response {
  const headers = new Headers({ 'content-type': 'application/json; charset=utf-8' })
  const body = answer.body as Readonly<Record<string, unknown>>
  if (answer.retryAfter !== undefined) headers.set('retry-after', String(answer.retryAfter))
  if (typeof body['errorCode'] === 'number') headers.set('x-ms-error-code', String(body['errorCode']))
  if (request.kind === 'register' && typeof body['operationId'] === 'string') {
    const { pathname, search } = new URL(context.req.url)
    headers.set('location', `${pathname.replace(/[^/]*\/?$/, '')}operations/${body['operationId']}${search}`)
  }
  return new Response(asciiJson(answer.body), { status: answer.status, headers })
}

/** A fault was asked for: the connection ends without an answer. */
function cut(context: Context<HttpEnvironment>): Response {
  context.env.incoming.socket.destroy()
  return new Response(null, { status: 500 })
}
