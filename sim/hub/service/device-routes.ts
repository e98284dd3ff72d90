import { ServiceError } from '../../errors.ts'
import { readJsonObject, readJson } from '../../http/request-body.ts'
import type { ServiceApp } from '../../http/service-app.ts'
import type { DeviceRecord } from '../device-record.ts'
import type { SimulatedHub } from '../hub.ts'
import type { JsonObject } from '../json.ts'
import { changeInBulk } from './bulk.ts'
import { readDevice } from './device-body.ts'
import { deviceJson } from './device-json.ts'
import type { Permit } from './permit.ts'
import { readIfMatch } from './if-match.ts'

const mostListed = 1000

/** `/devices` and `/statistics`: the identity registry. */
export function addDeviceRoutes(app: ServiceApp, hub: SimulatedHub, permit: Permit): void {
  const { registry } = hub
  const shown = (record: DeviceRecord): JsonObject => deviceJson(record, hub.messageCount(record.deviceId))

  app.get('/devices', permit('RegistryRead'), (context) => {
    const top = Number(context.req.query('top') ?? mostListed)
    if (!Number.isInteger(top) || top < 1 || top > mostListed) {
      throw new ServiceError(400, 400004, `top: expected 1 to ${mostListed}.`)
    }
    return context.json(registry.list().slice(0, top).map(shown))
  })

  app.post('/devices', permit('RegistryWrite'), async (context) =>
    context.json(changeInBulk(hub, await readJson(context))),
  )

  app.get('/statistics/devices', permit('RegistryRead'), (context) => {
    const enabledDeviceCount = registry.list().filter(({ status }) => status === 'enabled').length
    const totalDeviceCount = registry.size
    return context.json({
      totalDeviceCount,
      enabledDeviceCount,
      disabledDeviceCount: totalDeviceCount - enabledDeviceCount,
    })
  })

  app.get('/statistics/service', permit('ServiceConnect', 'RegistryRead'), (context) => {
    const connected = registry.list().filter(({ connectionState }) => connectionState === 'Connected')
    return context.json({ connectedDeviceCount: connected.length })
  })

  app.get('/devices/:id', permit('RegistryRead'), (context) => {
    const record = registry.require(context.req.param('id'))
    context.header('etag', `"${record.etag}"`)
    return context.json(shown(record))
  })

  app.put('/devices/:id', permit('RegistryWrite'), async (context) => {
    const deviceId = context.req.param('id')
    const body = await readJsonObject(context)
    if (body['deviceId'] !== deviceId) {
      throw new ServiceError(400, 400004, 'The device id of the body is not that of the path.')
    }
    const device = readDevice(deviceId, body)
    const ifMatch = readIfMatch(context.req.header('if-match'))
    const record =
      ifMatch === undefined ? registry.create(device) : registry.update(deviceId, device, ifMatch)
    context.header('etag', `"${record.etag}"`)
    return context.json(shown(record))
  })

  app.delete('/devices/:id', permit('RegistryWrite'), (context) => {
    registry.delete(context.req.param('id'), readIfMatch(context.req.header('if-match')))
    return context.body(null, 204)
  })

  app.delete('/devices/:id/commands', permit('ServiceConnect'), (context) => {
    const deviceId = context.req.param('id')
    const totalMessagesPurged = hub.purgeMessages(deviceId)
    return context.json({ totalMessagesPurged, deviceId, moduleId: null })
  })

  app.all('/devices/:id/modules/:module?', permit('RegistryRead', 'RegistryWrite'), () => {
    throw notHere('Modules')
  })
  app.all('/devices/:id/applyConfigurationContent', permit('ServiceConnect'), () => {
    throw notHere('Configurations')
  })
  app.all('/configurations/:id?', permit('RegistryRead', 'RegistryWrite'), () => {
    throw notHere('Configurations')
  })
}

/** Says plainly that Azure has it and this hub has not. */
export function notHere(what: string): ServiceError {
  return new ServiceError(501, 501000, `ErrorCode:NotImplemented;${what} are not part of this simulated hub.`)
}
