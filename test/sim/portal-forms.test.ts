import { readFile } from 'node:fs/promises'
import { generateKeyFile, TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { openPortal, pemFile, Visitor } from './portal-visitor.ts'

async function leafFor(commonName: string): Promise<IssuedLeaf> {
  const [root, { publicKey }] = await Promise.all([
    TestAuthority.createRoot({ commonName: 'root' }),
    generateKeyFile(),
  ])
  return root.issueLeaf({ publicKey, commonName })
}

describe('an individual enrollment', () => {
  it('is added, under the common name of its certificate where no id is given', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const leaf = await leafFor('device-1')
    const path = '/enrollments/add-individual'
    const answer = await visitor.send(path, path, {
      'primary-file': pemFile(leaf.certificate),
      hub: 'hub-a.azure-devices.net',
    })
    expect(answer).toMatchObject({
      status: 303,
      headers: { location: '/enrollments/individual/device-1?done=added' },
    })
    expect(cloud.dps.enrollments.get('device-1')).toMatchObject({
      attestation: { primary: leaf.certificate },
      provisioningStatus: 'enabled',
      iotHubHostName: 'hub-a.azure-devices.net',
      allocationPolicy: 'static',
      reprovisionPolicy: { updateHubAssignment: true, migrateDeviceData: true },
    })
    const again = await visitor.send(path, path, { 'primary-file': pemFile(leaf.certificate) })
    expect(again.status).toBe(409)
    expect(again.text).toContain('There is an individual enrollment &quot;device-1&quot; already.')
  })

  it('takes a new certificate only where the current one is deleted', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const [old, fresh] = await Promise.all([leafFor('device-1'), leafFor('device-1')])
    const { enrollments } = cloud.dps
    enrollments.put({
      registrationId: 'device-1',
      attestation: { primary: old.certificate },
      initialTwin: { tags: { a: 1 } },
    })
    const path = '/enrollments/individual/device-1'

    const crowded = await visitor.send(path, path, {
      'primary-file': pemFile(fresh.certificate),
      'device-id': 'other',
    })
    expect(crowded.status).toBe(400)
    expect(crowded.text).toContain('tick &quot;Delete current certificate&quot;')
    expect(crowded.text).toContain('value="other"')
    const emptied = await visitor.send(path, path, { 'delete-primary': 'yes' })
    expect(emptied.status).toBe(400)
    expect(emptied.text).toContain('has no certificate')
    expect(enrollments.get('device-1')?.attestation).toEqual({ primary: old.certificate })

    const file = pemFile(fresh.certificate)
    expect((await visitor.send(path, path, { 'delete-primary': 'yes', 'primary-file': file })).status).toBe(
      303,
    )
    expect(enrollments.get('device-1')).toMatchObject({
      attestation: { primary: fresh.certificate },
      initialTwin: { tags: { a: 1 } },
    })
    await visitor.send(path, path, { 'secondary-file': pemFile(old.certificate) })
    expect(enrollments.get('device-1')?.attestation).toEqual({
      primary: fresh.certificate,
      secondary: old.certificate,
    })
    await visitor.send(path, path, { 'delete-primary': 'yes' })
    expect(enrollments.get('device-1')?.attestation).toEqual({ secondary: old.certificate })
  })

  it('is taken as DER too, and refused as anything else', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const leaf = await leafFor('device-1')
    const der = Buffer.from(leaf.certificate.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64')
    const path = '/enrollments/add-individual'
    const wrong = await visitor.send(path, path, { 'primary-file': new File(['nonsense'], 'a.pem') })
    expect(wrong.status).toBe(400)
    expect(wrong.text).toContain('The file a.pem: expected a certificate')
    expect((await visitor.send(path, path, { 'primary-file': new File([der], 'a.cer') })).status).toBe(303)
    expect(cloud.dps.enrollments.get('device-1')?.attestation).toEqual({ primary: leaf.certificate })
  })

  it('is disabled, changed and deleted, and keeps what the page has no field for', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const { enrollments } = cloud.dps
    enrollments.put({
      registrationId: 'device-1',
      attestation: { type: 'symmetricKey' },
      allocationPolicy: 'geoLatency',
      iotHubs: ['hub-a.azure-devices.net'],
    })
    const before = enrollments.get('device-1')
    const path = '/enrollments/individual/device-1'
    await visitor.send(path, path, { enabled: undefined, reprovision: 'reset', 'device-id': 'machine-1' })
    expect(enrollments.get('device-1')).toEqual({
      ...before,
      deviceId: 'machine-1',
      provisioningStatus: 'disabled',
      reprovisionPolicy: { updateHubAssignment: true, migrateDeviceData: false },
      etag: expect.anything() as unknown,
      lastUpdatedDateTimeUtc: expect.anything() as unknown,
    })
    expect((await visitor.send(path, `${path}/delete`, {})).headers.location).toBe(
      '/enrollments?done=deleted',
    )
    expect(enrollments.list()).toEqual([])
  })

  it('is not changed by who has seen an older version of it', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const { enrollments } = cloud.dps
    enrollments.put({ registrationId: 'device-1', attestation: { type: 'symmetricKey' } })
    const path = '/enrollments/individual/device-1'
    for (const action of [path, `${path}/delete`]) {
      const answer = await visitor.send(path, action, { etag: 'an-older-one' })
      expect(answer.status).toBe(412)
      expect(answer.text).toContain('It has been changed since this page was opened.')
    }
    expect(enrollments.get('device-1')?.provisioningStatus).toBe('enabled')
  })
})

describe('an enrollment group', () => {
  it('is by verified authorities, whose names are chosen', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const [one, two] = await Promise.all(
      ['one', 'two'].map((commonName) => TestAuthority.createRoot({ commonName })),
    )
    cloud.dps.certificates.put('root-1', one?.certificate ?? '', true)
    const { etag } = cloud.dps.certificates.put('root-2', two?.certificate ?? '', false)
    const add = '/enrollments/add-group'
    expect((await visitor.see(add)).text).not.toContain('root-2')
    await visitor.send(add, add, { 'group-id': 'factory', 'primary-ca': 'root-1' })
    expect(cloud.dps.groups.get('factory')?.attestation).toEqual({ type: 'caReferences', primary: 'root-1' })

    const path = '/enrollments/group/factory'
    const unverified = await visitor.send(path, path, { 'secondary-ca': 'root-2' })
    expect(unverified.status).toBe(400)
    expect(unverified.text).toContain('there is no verified certificate &quot;root-2&quot;')
    const none = await visitor.send(path, path, { 'primary-ca': '' })
    expect(none.status).toBe(400)
    cloud.dps.certificates.put('root-2', two?.certificate ?? '', true, etag)
    await visitor.send(path, path, { 'primary-ca': 'root-2', 'secondary-ca': 'root-1' })
    expect(cloud.dps.groups.get('factory')?.attestation).toEqual({
      type: 'caReferences',
      primary: 'root-2',
      secondary: 'root-1',
    })
    cloud.dps.certificates.delete('root-1', '*')
    expect((await visitor.see(path)).text).toContain('root-1 (deleted, or not verified)')
  })

  it('is by intermediates, which a verified authority has to have signed', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const root = await TestAuthority.createRoot({ commonName: 'root' })
    const factory = await root.createIntermediate({ commonName: 'factory' })
    const add = '/enrollments/add-group'
    const form = { 'group-id': 'factory', type: 'intermediate', 'primary-file': pemFile(factory.certificate) }
    const unknown = await visitor.send(add, add, form)
    expect(unknown.status).toBe(400)
    expect(unknown.text).toContain('is not verified, nor signed by a verified authority')
    cloud.dps.certificates.put('root-1', root.certificate, true)
    expect((await visitor.send(add, add, form)).status).toBe(303)
    expect(cloud.dps.groups.get('factory')?.attestation).toEqual({
      primary: factory.certificate.trimEnd() + '\n',
    })
    const path = '/enrollments/group/factory'
    await visitor.send(path, `${path}/delete`, {})
    expect(cloud.dps.groups.list()).toEqual([])
  })
})

describe('a CA certificate', () => {
  it.each(['dps', 'hub-hub-a'])('of %s is verified by a proof of possession', async (owner) => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const store = owner === 'dps' ? cloud.dps.certificates : cloud.hub('hub-a').certificates
    const root = await TestAuthority.createRoot({ commonName: 'root' })
    const add = await visitor.send('/certificates', '/certificates', {
      owner,
      name: 'root-1',
      file: pemFile(root.certificate),
    })
    const path = `/certificates/${owner}/root-1`
    expect(add.headers.location).toBe(`${path}?done=added`)
    expect(store.get('root-1')?.isVerified).toBe(false)

    await visitor.send(path, `${path}/code`, {})
    const [, code = ''] = /id="code"[^>]*value="([0-9A-F]{48})"/.exec((await visitor.see(path)).text) ?? []
    const { publicKey } = await generateKeyFile()
    const impostor = await TestAuthority.createRoot({ commonName: 'root' })
    for (const [signer, commonName] of [
      [impostor, code],
      [root, 'another code'],
    ] as const) {
      const { certificate } = await signer.issueLeaf({ publicKey, commonName })
      expect((await visitor.send(path, `${path}/verify`, { proof: pemFile(certificate) })).status).toBe(400)
    }
    const { certificate } = await root.issueLeaf({ publicKey, commonName: code })
    await visitor.send(path, `${path}/verify`, { proof: pemFile(certificate) })
    expect(store.get('root-1')?.isVerified).toBe(true)
    expect((await visitor.see(path)).text).not.toContain('Generate verification code')

    await visitor.send(path, `${path}/delete`, {})
    expect(store.list()).toEqual([])
    expect((await visitor.see(path)).status).toBe(404)
  })

  it('is not replaced by another one of the same name', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const [one, two] = await Promise.all(
      ['one', 'two'].map((commonName) => TestAuthority.createRoot({ commonName })),
    )
    const send = async (pem = ''): Promise<number> =>
      (
        await visitor.send('/certificates', '/certificates', {
          name: 'root',
          file: pemFile(pem),
          verified: 'yes',
        })
      ).status
    expect(await send(one?.certificate)).toBe(303)
    expect(cloud.dps.certificates.get('root')?.isVerified).toBe(true)
    expect(await send(two?.certificate)).toBe(409)
  })
})

describe('a device', () => {
  it('is disabled, enabled and deleted at its hub', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const { registry } = cloud.hub('hub-a')
    registry.create({ deviceId: 'a#b?', authentication: { type: 'sas' } })
    const path = `/devices/${encodeURIComponent('a#b?')}`
    await visitor.send(path, `${path}/status`, {})
    expect(registry.get('a#b?')?.status).toBe('disabled')
    expect((await visitor.send(path, `${path}/status`, { etag: 'older' })).status).toBe(412)
    await visitor.send(path, `${path}/status`, {})
    expect(registry.get('a#b?')?.status).toBe('enabled')
    await visitor.send(path, `${path}/delete`, {})
    expect(registry.list()).toEqual([])
  })

  it('is called, and what is wrong with the call is said', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    cloud.hub('hub-a').registry.create({ deviceId: 'device-1', authentication: { type: 'sas' } })
    const path = '/devices/device-1'
    const call = async (fields: Record<string, string>): Promise<[number, string]> => {
      const { status, text } = await visitor.send(path, `${path}/methods`, fields)
      return [status, /role="alert">\s*<p>([^<]*)</.exec(text)?.[1] ?? '']
    }
    expect(await call({ payload: '{' })).toEqual([400, 'payload: expected JSON.'])
    expect(await call({ 'connect-timeout': 'x' })).toEqual([
      400,
      expect.stringContaining('expected a number'),
    ])
    expect(await call({ method: 'a b' })).toEqual([400, expect.stringContaining('is no method name')])
    expect(await call({})).toEqual([404, 'Timed out waiting for device to connect.'])
    expect(await call({ hub: 'hub-x' })).toEqual([400, expect.stringContaining('There is no hub')])
  })
})

describe('a job', () => {
  it('is scheduled, shown and cancelled', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const hub = cloud.hub('hub-a')
    hub.registry.create({ deviceId: 'device-1', authentication: { type: 'sas' } })
    const done = cloud.waitFor(
      'jobChanged',
      ({ jobId, status }) => jobId === 'job-1' && status === 'completed',
    )
    const twin = { work: 'scheduleUpdateTwin', twin: '{ "tags": { "site": "north" } }' }
    expect((await visitor.send('/jobs', '/jobs', twin)).status).toBe(303)
    await done
    expect(hub.twin('device-1').tags).toEqual({ site: 'north' })
    expect((await visitor.see('/jobs')).text).toContain('1 of 1 done')

    const soon = new Date(Date.now() + 3_600_000).toISOString().slice(0, 16)
    await visitor.send('/jobs', '/jobs', { start: soon, condition: "tags.site = 'north'" })
    expect(hub.jobs.get('job-2')).toMatchObject({
      status: 'scheduled',
      startAt: Date.parse(soon),
      maxExecutionTimeInSeconds: 60,
      queryCondition: "tags.site = 'north'",
      work: { type: 'scheduleDeviceMethod', call: { methodName: 'reprovision' } },
    })
    await visitor.send('/jobs', '/jobs/hub-a.azure-devices.net/job-2/cancel', {})
    expect(hub.jobs.get('job-2').status).toBe('cancelled')
  })

  it.each([
    [{ condition: 'tags.site = ' }, /at character/],
    [{ job: 'job 1' }, /is no job id/],
    [{ seconds: '0' }, /maxExecutionTimeInSeconds: expected/],
    [{ start: 'tomorrow' }, /startTime: expected an instant/],
    [{ work: 'scheduleUpdateTwin', twin: '' }, /updateTwin: expected an object/],
  ])('%j is refused, and what was written stays', async (fields, message) => {
    const { cloud, portal } = await openPortal()
    const { status, text } = await (await Visitor.enter(portal)).send('/jobs', '/jobs', fields)
    expect(status).toBe(400)
    expect(text).toMatch(message)
    for (const value of Object.values(fields)) expect(text).toContain(value)
    expect(cloud.hub('hub-a').jobs.list()).toEqual([])
  })
})

describe('a fault', () => {
  it('is switched on with its settings, and off', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const send = async (name: string, fields: Record<string, string>): Promise<number> =>
      (await visitor.send('/faults', `/faults/${name}`, { switch: 'on', ...fields })).status
    expect(await send('dps-latency', { 'dps-latency-value': '50', 'dps-latency-times': '3' })).toBe(303)
    expect(await send('hub-failover', {})).toBe(303)
    expect(await send('hub-dropped', { 'hub-dropped-probability': '0.5' })).toBe(303)
    expect(cloud.faults.list()).toEqual([
      { name: 'dps-latency', settings: { ms: 50, times: 3 } },
      { name: 'hub-failover', settings: { hub: 'hub-a.azure-devices.net' } },
      { name: 'hub-dropped', settings: { probability: 0.5 } },
    ])
    for (const { name } of cloud.faults.list()) expect(await send(name, { switch: 'off' })).toBe(303)
    expect(cloud.faults.list()).toEqual([])
  })

  it('needs what it needs', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const { status, text } = await visitor.send('/faults', '/faults/dps-latency', { switch: 'on' })
    expect(status).toBe(400)
    expect(text).toContain('The fault dps-latency: expected `ms`, a number of milliseconds.')
    expect(cloud.faults.list()).toEqual([])
  })
})

describe('a registration record', () => {
  it('is deleted', async () => {
    const { cloud, portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const at = new Date().toISOString()
    cloud.dps.registrations.put({
      registrationId: 'device-1',
      deviceId: 'device-1',
      createdDateTimeUtc: at,
      lastUpdatedDateTimeUtc: at,
      assignedHub: 'hub-a.azure-devices.net',
      status: 'assigned',
      substatus: 'initialAssignment',
      etag: 'x',
    })
    await visitor.send('/registrations', '/registrations/device-1/delete', {})
    expect(cloud.dps.registrations.list()).toEqual([])
  })
})

describe('what a form has changed', () => {
  it('is kept before it is said', async () => {
    const data = await temporaryFolder()
    const { cloud, portal } = await openPortal({ data })
    const root = await TestAuthority.createRoot({ commonName: 'root' })
    const visitor = await Visitor.enter(portal)
    await visitor.send('/certificates', '/certificates', { name: 'root-1', file: pemFile(root.certificate) })
    expect(await readFile(`${data}/cloud.json`, 'utf8')).toContain('"root-1"')
    expect(cloud.dps.certificates.list()).toHaveLength(1)
  })

  it('is refused when it is too large', async () => {
    const { portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    const file = new File(['x'.repeat(300_000)], 'a.pem')
    const { status } = await visitor.send('/certificates', '/certificates', { name: 'root-1', file })
    expect(status).toBe(413)
  })
})
