import type { SimulatedCloud } from 'leafkeeper-sim'
import { createSas } from '../../../../sim/http/sas.ts'
import { isOver } from '../../../../sim/hub/jobs/job.ts'
import type { Dice } from '../dice.ts'
import { stateOf } from '../fuzz.ts'
import { isHubRefusal, type HttpFace } from '../http-face.ts'
import type { HttpTemplate } from '../http-input.ts'

const ids = ['kept-1', 'kept-2', 'fuzz-1', 'fuzz-2', 'fuzz-3', 'fuzz-4']

/** The REST API of a hub: registry, twins, methods, queries, jobs. */
export function hubServiceFace(cloud: SimulatedCloud): HttpFace {
  const hub = cloud.hub('hub-a')
  const policy = 'iothubowner'
  const expiry = Math.floor(Date.now() / 1000) + 3600
  const authorization = createSas(hub.hostName, hub.policies.get(policy).primaryKey, expiry, policy)
  for (const deviceId of ['kept-1', 'kept-2']) {
    hub.registry.create({ deviceId, authentication: { type: 'sas' } })
    hub.sendToDevice(deviceId, { body: 'waits' })
  }
  const ended = new Set<string>()
  const thumbprints = { primaryThumbprint: 'AB'.repeat(32), secondaryThumbprint: 'cd'.repeat(20) }
  const key = Buffer.alloc(32, 1).toString('base64')

  const device = (dice: Dice, deviceId: string): Readonly<Record<string, unknown>> => ({
    deviceId,
    status: dice.pick(['enabled', 'disabled']),
    statusReason: 'because',
    authentication: dice.pick([
      { type: 'sas', symmetricKey: { primaryKey: key, secondaryKey: key } },
      { type: 'selfSigned', x509Thumbprint: thumbprints },
      { type: 'certificateAuthority' },
    ]),
    capabilities: { iotEdge: dice.chance(0.5) },
  })
  const twin = (dice: Dice): object => ({
    tags: { site: 'a', floor: { room: dice.number(9) } },
    properties: { desired: { interval: dice.number(9), list: [1, { two: 2 }] } },
  })
  // Left out: how long to wait for a device. Nobody waits for an answer here.
  const call = { methodName: 'reprovision', payload: { a: [1, 2] }, responseTimeoutInSeconds: 5 }
  const query = (dice: Dice): string =>
    dice.pick([
      'SELECT * FROM devices',
      "SELECT deviceId, tags.site AS place FROM devices WHERE tags.floor.room > 3 AND NOT deviceId = 'kept-1'",
      "SELECT COUNT() AS total FROM devices WHERE STARTSWITH(deviceId, 'kept') OR IS_DEFINED(tags.site)",
      "SELECT * FROM devices.jobs WHERE devices.jobs.jobId IN ['job-1', 'job-2']",
    ])
  const job = (dice: Dice, jobId: string): object => ({
    jobId,
    ...dice.pick([
      { type: 'scheduleDeviceMethod', cloudToDeviceMethod: call },
      { type: 'scheduleUpdateTwin', updateTwin: { etag: '*', ...twin(dice) } },
    ]),
    startTime: '2100-01-01T00:00:00Z',
    maxExecutionTimeInSeconds: 3600,
    queryCondition: "deviceId IN ['kept-1', 'kept-2']",
  })
  const request = (dice: Dice): Omit<HttpTemplate, 'query'> & { readonly query?: HttpTemplate['query'] } => {
    const id = dice.pick(ids)
    const jobId = `job-${dice.number(60)}`
    const ifMatch = { 'if-match': dice.pick(['*', '"*"', `"${hub.registry.get(id)?.etag ?? 'AAAA'}"`]) }
    switch (dice.number(20)) {
      case 0:
        return { method: 'GET', path: '/devices', query: { top: '3' } }
      case 1:
        return { method: 'GET', path: `/devices/${id}` }
      case 2:
      case 3:
        return { method: 'PUT', path: `/devices/${id}`, body: device(dice, id) }
      case 4:
      case 5:
        return { method: 'PUT', path: `/devices/${id}`, headers: ifMatch, body: device(dice, id) }
      case 6:
        return { method: 'DELETE', path: `/devices/${id}`, headers: ifMatch }
      case 7:
      case 8: {
        const importMode = dice.pick(['create', 'update', 'createOrUpdate', 'delete', 'updateIfMatchETag'])
        const entry = (name: string): object => ({
          ...device(dice, name),
          id: name,
          importMode,
          eTag: 'AAAA',
        })
        return { method: 'POST', path: '/devices', body: [entry(id), entry(dice.pick(ids))] }
      }
      case 9:
        return { method: 'GET', path: dice.pick(['/statistics/devices', '/statistics/service']) }
      case 10:
        return { method: 'DELETE', path: `/devices/${id}/commands` }
      case 11:
        return { method: 'GET', path: `/twins/${id}` }
      case 12:
      case 13:
        return { method: dice.pick(['PATCH', 'PUT']), path: `/twins/${id}`, body: twin(dice) }
      case 14:
        return { method: 'POST', path: `/twins/${id}/methods`, body: call }
      case 15: {
        const headers = { 'x-ms-max-item-count': '2', 'x-ms-continuation': '' }
        return { method: 'POST', path: '/devices/query', headers, body: { query: query(dice) } }
      }
      case 16:
        return { method: 'GET', path: '/jobs/v2/query', query: { jobStatus: 'scheduled', jobType: '' } }
      case 17:
        return { method: 'GET', path: `/jobs/v2/${jobId}` }
      case 18:
        return { method: 'POST', path: `/jobs/v2/${jobId}/cancel` }
      default:
        return { method: 'PUT', path: `/jobs/v2/${jobId}`, body: job(dice, jobId) }
    }
  }
  return {
    host: hub.hostName,
    isRefusal: isHubRefusal,
    template: (dice) => {
      const { headers, query: more, ...rest } = request(dice)
      const query = { 'api-version': '2021-04-12', ...more }
      return { ...rest, query, headers: { authorization, ...headers } }
    },
    state: () =>
      stateOf({
        device: hub.registry.list().map((one) => [one.deviceId, one]),
        twin: hub.registry.list().map(({ deviceId }) => [deviceId, hub.storedTwin(deviceId)]),
        messages: hub.registry.list().map(({ deviceId }) => [deviceId, hub.messageCount(deviceId)]),
        job: hub.jobs
          .list()
          .map(({ jobId, work, startAt, queryCondition }) => [jobId, { work, startAt, queryCondition }]),
      }),
    settle: () => {
      // A job whose time has come may have written to any twin; from here on it does not.
      const due = hub.jobs.list().filter(({ jobId, startAt }) => startAt <= hub.now() && !ended.has(jobId))
      for (const { jobId } of due) {
        ended.add(jobId)
        if (!isOver(hub.jobs.get(jobId).status)) hub.jobs.cancel(jobId)
      }
      return (key) => due.length > 0 && key.startsWith('twin/')
    },
  }
}
