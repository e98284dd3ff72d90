import { randomUUID } from 'node:crypto'
import { ServiceError } from '../../errors.ts'
import { readJsonObject } from '../../http/request-body.ts'
import type { ServiceApp } from '../../http/service-app.ts'
import type { SimulatedHub } from '../hub.ts'
import type { JsonObject } from '../json.ts'
import type { MethodCall } from '../methods.ts'
import { twinJson } from './device-json.ts'
import { notHere } from './device-routes.ts'
import type { HubContext, Permit } from './permit.ts'
import { readIfMatch } from './if-match.ts'
import { readMethodCall } from './method-body.ts'
import { readTwinChange } from './twin-body.ts'

/** `/twins`: what cloud and device know of each other, and direct methods. */
export function addTwinRoutes(app: ServiceApp, hub: SimulatedHub, permit: Permit): void {
  const answer = (context: HubContext, deviceId: string): Response => {
    const twin = hub.storedTwin(deviceId)
    context.header('etag', `"${twin.etag}"`)
    return context.json(twinJson(hub.registry.require(deviceId), twin, hub.messageCount(deviceId)))
  }

  app.all('/twins/:id/modules/*', permit('ServiceConnect'), () => {
    throw notHere('Modules')
  })

  app.get('/twins/:id', permit('ServiceConnect', 'RegistryRead'), (context) =>
    answer(context, context.req.param('id')),
  )

  app.on(['PATCH', 'PUT'], '/twins/:id', permit('ServiceConnect', 'RegistryWrite'), async (context) => {
    const deviceId = context.req.param('id')
    const change = readTwinChange(await readJsonObject(context))
    const ifMatch = readIfMatch(context.req.header('if-match'))
    hub.writeTwin(deviceId, change, context.req.method === 'PUT' ? 'replace' : 'merge', ifMatch)
    return answer(context, deviceId)
  })

  app.post('/twins/:id/methods', permit('ServiceConnect'), async (context) => {
    const deviceId = context.req.param('id')
    hub.registry.require(deviceId)
    const call = readMethodCall(await readJsonObject(context))
    try {
      return context.json(await hub.invokeMethod(deviceId, call))
    } catch (error) {
      if (!(error instanceof ServiceError) || !methodErrors.has(error.errorCode)) throw error
      return context.json(methodError(error, call, hub.now()), error.status as 404 | 502 | 504)
    }
  })
}

/** Not connected, no answer, an answer that is no JSON. */
const methodErrors = new Set([404103, 504101, 502001])

/** The message of these is itself JSON. */
function methodError({ errorCode, message }: ServiceError, call: MethodCall, now: number): JsonObject {
  const trackingId = randomUUID()
  const timeoutMs = errorCode === 404103 ? call.connectTimeoutMs : call.responseTimeoutMs
  const detail = {
    errorCode,
    trackingId,
    message,
    info: { timeout: timeSpan(timeoutMs ?? 0) },
    timestampUtc: new Date(now).toISOString(),
  }
  return { Message: JSON.stringify(detail), ExceptionMessage: `Tracking ID:${trackingId}` }
}

/** .NET's notation for a span of time, which Azure puts there. */
function timeSpan(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(11, 19)
}
