import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCloud, TestAuthority, type CloudOptions } from 'leafkeeper-sim'
import { createDevice, deviceClient, register } from './devices.ts'

const unauthorized = { name: 'UnauthorizedError', result: { errorCode: 401002 } }
const expired = { notBefore: new Date(2020, 0, 1), notAfter: new Date(2021, 0, 1) }

let cloud: SimulatedCloud
let root: TestAuthority

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  root = await TestAuthority.createRoot({ commonName: 'registration root' })
})
afterAll(() => cloud.close())

async function withCloud<T>(options: CloudOptions, act: (cloud: SimulatedCloud) => Promise<T>): Promise<T> {
  const other = await SimulatedCloud.start(options)
  try {
    return await act(other)
  } finally {
    await other.close()
  }
}

describe('individual enrollment', () => {
  it.each(['primary', 'secondary'] as const)('assigns a device by its %s certificate', async (slot) => {
    const device = await createDevice(root, `individual-${slot}`)
    const other = await createDevice(root, `other-${slot}`)
    const spare = slot === 'primary' ? 'secondary' : 'primary'
    cloud.dps.enrollments.put({
      registrationId: device.id,
      attestation: { [slot]: device.certificate, [spare]: other.certificate },
    })
    const attempt = cloud.waitFor('registration')
    const state = await register(cloud, device)
    expect(state).toMatchObject({
      registrationId: device.id,
      deviceId: device.id,
      status: 'assigned',
      substatus: 'initialAssignment',
    })
    expect(await attempt).toMatchObject({
      registrationId: device.id,
      outcome: 'assigned',
      thumbprint: device.thumbprint,
      assignedHub: state.assignedHub,
    })
    expect(cloud.hub(state.assignedHub).registry.get(device.id)).toMatchObject({
      status: 'enabled',
      authentication: {
        type: 'selfSigned',
        x509Thumbprint: { primaryThumbprint: device.thumbprint, secondaryThumbprint: device.thumbprint },
      },
    })
    const client = await deviceClient(cloud, state.assignedHub, device)
    await client.open()
    await client.close()
  })

  it('gives the device the name that the enrollment says, in a hub of its choice', async () => {
    const device = await createDevice(root, 'named-1')
    cloud.dps.enrollments.put({
      registrationId: device.id,
      deviceId: 'another-name',
      iotHubHostName: 'hub-b.azure-devices.net',
      attestation: { primary: device.certificate },
    })
    expect(await register(cloud, device)).toMatchObject({
      assignedHub: 'hub-b.azure-devices.net',
      deviceId: 'another-name',
    })
  })

  it('takes a registration id in either case', async () => {
    const device = await createDevice(root, 'Mixed-Case-1')
    cloud.dps.enrollments.put({
      registrationId: 'mixed-case-1',
      attestation: { primary: device.certificate },
    })
    expect(await register(cloud, device, 'MIXED-CASE-1')).toMatchObject({ deviceId: 'mixed-case-1' })
  })

  it('refuses another certificate, and does not fall through to a group that would do', async () => {
    const other = await TestAuthority.createRoot({ commonName: 'fall-through root' })
    cloud.dps.groups.put({ enrollmentGroupId: 'fall-through', attestation: { primary: other.certificate } })
    const device = await createDevice(other, 'fall-through-1')
    const enrolled = await createDevice(root, device.id)
    cloud.dps.enrollments.put({
      registrationId: device.id,
      attestation: { primary: enrolled.certificate },
    })
    const attempt = cloud.waitFor('registration')
    await expect(register(cloud, device)).rejects.toMatchObject(unauthorized)
    expect(await attempt).toMatchObject({
      outcome: 401002,
      reason: expect.stringContaining('other') as string,
    })
    cloud.dps.enrollments.delete(device.id)
    expect(await register(cloud, device)).toMatchObject({ status: 'assigned' })
  })

  it('replaces certificates by `put`: the old one is refused from then on', async () => {
    const [first, second] = await Promise.all([createDevice(root, 'roll-1'), createDevice(root, 'roll-1')])
    const put = (attestation: { primary?: string; secondary?: string }): void => {
      cloud.dps.enrollments.put({ registrationId: 'roll-1', attestation })
    }
    put({ primary: first.certificate })
    const { assignedHub } = await register(cloud, first)
    await expect(register(cloud, second)).rejects.toMatchObject(unauthorized)
    put({ primary: first.certificate, secondary: second.certificate })
    expect(await register(cloud, second)).toMatchObject({
      assignedHub,
      substatus: 'reprovisionedToInitialAssignment',
    })
    put({ secondary: second.certificate })
    await expect(register(cloud, first)).rejects.toMatchObject(unauthorized)
    expect(cloud.dps.registrationCount('ROLL-1')).toBe(2)
    expect(cloud.hub(assignedHub).registry.get('roll-1')?.authentication).toMatchObject({
      x509Thumbprint: { primaryThumbprint: second.thumbprint, secondaryThumbprint: second.thumbprint },
    })
  })
})

describe('enrollment group', () => {
  it.each(['root', 'intermediate'] as const)('assigns a device below its %s', async (level) => {
    const top = await TestAuthority.createRoot({ commonName: `group ${level}` })
    const middle = await top.createIntermediate({ commonName: `group ${level} intermediate` })
    const enrollmentGroupId = `group-${level}`
    cloud.dps.groups.put({
      enrollmentGroupId,
      attestation: { secondary: level === 'root' ? top.certificate : middle.certificate },
    })
    const device = await createDevice(middle, `below-${level}`)
    const state = await register(cloud, device)
    expect(state).toMatchObject({ deviceId: device.id, substatus: 'initialAssignment' })
    expect(cloud.dps.registrations.get(device.id)).toMatchObject({ enrollmentGroupId })
    expect(cloud.hub(state.assignedHub).registry.get(device.id)?.authentication.type).toBe('selfSigned')
  })

  it('takes the group nearest to the leaf, also when that one is disabled', async () => {
    const top = await TestAuthority.createRoot({ commonName: 'nearest root' })
    const middle = await top.createIntermediate({ commonName: 'nearest intermediate' })
    cloud.dps.groups.put({ enrollmentGroupId: 'nearest-top', attestation: { primary: top.certificate } })
    const near = { enrollmentGroupId: 'nearest-middle', attestation: { primary: middle.certificate } }
    cloud.dps.groups.put(near)
    const device = await createDevice(middle, 'nearest-1')
    await register(cloud, device)
    expect(cloud.dps.registrations.get(device.id)?.enrollmentGroupId).toBe('nearest-middle')
    cloud.dps.groups.put({ ...near, provisioningStatus: 'disabled' })
    await expect(register(cloud, device)).rejects.toMatchObject(unauthorized)
    cloud.dps.groups.delete('nearest-middle')
    await register(cloud, device)
    expect(cloud.dps.registrations.get(device.id)?.enrollmentGroupId).toBe('nearest-top')
  })

  it('leaves one device out by a disabled individual entry', async () => {
    const top = await TestAuthority.createRoot({ commonName: 'exception root' })
    cloud.dps.groups.put({ enrollmentGroupId: 'exception', attestation: { primary: top.certificate } })
    const [out, stays] = await Promise.all([createDevice(top, 'out-1'), createDevice(top, 'stays-1')])
    cloud.dps.enrollments.put({
      registrationId: out.id,
      attestation: { primary: out.certificate },
      provisioningStatus: 'disabled',
    })
    await expect(register(cloud, out)).rejects.toMatchObject(unauthorized)
    expect(await register(cloud, stays)).toMatchObject({ status: 'assigned' })
  })

  it('takes no notice of certificates that were presented in excess', async () => {
    const top = await TestAuthority.createRoot({ commonName: 'excess root' })
    cloud.dps.groups.put({ enrollmentGroupId: 'excess', attestation: { primary: top.certificate } })
    const [device, other] = await Promise.all([createDevice(top, 'excess-1'), createDevice(top, 'excess-2')])
    const chain = device.certificate + other.certificate + root.certificate
    expect(await register(cloud, { ...device, chain })).toMatchObject({ status: 'assigned' })
  })

  it('writes a record by authority where the cloud is set so', async () => {
    await withCloud({ groupAuthentication: 'certificateAuthority' }, async (other) => {
      other.dps.groups.put({ enrollmentGroupId: 'by-authority', attestation: { primary: root.certificate } })
      const device = await createDevice(root, 'by-authority-1')
      const { assignedHub } = await register(other, device)
      expect(other.hub(assignedHub).registry.get(device.id)?.authentication).toEqual({
        type: 'certificateAuthority',
        x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: null },
      })
      other.hub(assignedHub).trustedAuthorities.add(root.certificate)
      const renewed = await deviceClient(other, assignedHub, await createDevice(root, device.id))
      await renewed.open()
      await renewed.close()
    })
  })
})

describe('refused', () => {
  beforeAll(() => {
    cloud.dps.groups.put({ enrollmentGroupId: 'refused', attestation: { primary: root.certificate } })
  })

  it.each([
    ['a certificate for another name', 'Unauthorized', { commonName: 'somebody-else' }],
    ['an expired certificate', 'Invalid certificate.', expired],
    [
      'a certificate of tomorrow',
      'Invalid certificate.',
      { notBefore: new Date(2090, 0), notAfter: new Date(2091, 0) },
    ],
  ])('%s', async (what, message, order) => {
    const device = await createDevice(root, `refused-${what.replaceAll(' ', '-')}`, order)
    await expect(register(cloud, device)).rejects.toMatchObject({
      name: 'UnauthorizedError',
      result: { errorCode: 401002, message },
    })
  })

  it.each([
    ['a chain to an authority that nobody knows', undefined],
    ['a chain over an expired intermediate', expired],
  ])('%s', async (what, validity) => {
    const top = validity === undefined ? await TestAuthority.createRoot({ commonName: 'unknown root' }) : root
    const middle = await top.createIntermediate({
      commonName: `refused ${what}`,
      ...(validity === undefined ? {} : { validity }),
    })
    await expect(register(cloud, await createDevice(middle, 'chain-1'))).rejects.toMatchObject({
      result: { errorCode: 401002, message: 'CA certificate not found.' },
    })
  })

  it('a chain whose intermediate has the right name and another key', async () => {
    const [real, forged] = await Promise.all(
      ['same name', 'same name'].map(async (commonName) => root.createIntermediate({ commonName })),
    )
    if (real === undefined || forged === undefined) throw new Error('Two authorities were made.')
    const device = await createDevice(forged, 'forged-1')
    const chain = device.certificate + real.certificate
    await expect(register(cloud, { ...device, chain })).rejects.toMatchObject(unauthorized)
    expect(await register(cloud, device)).toMatchObject({ status: 'assigned' })
  })

  it('a chain without the intermediate in the middle', async () => {
    const upper = await root.createIntermediate({ commonName: 'upper' })
    const lower = await upper.createIntermediate({ commonName: 'lower' })
    const device = await createDevice(lower, 'gap-1')
    const gap = { ...device, chain: device.certificate + upper.certificate }
    await expect(register(cloud, gap)).rejects.toMatchObject(unauthorized)
    expect(await register(cloud, device)).toMatchObject({ status: 'assigned' })
  })

  it('a certificate that is in a disabled entry, although a group would take it', async () => {
    const device = await createDevice(root, 'in-a-disabled-entry')
    cloud.dps.enrollments.put({
      registrationId: 'another-entry',
      attestation: { primary: device.certificate },
      provisioningStatus: 'disabled',
    })
    await expect(register(cloud, device)).rejects.toMatchObject(unauthorized)
  })

  it('an entry whose hub is not linked', async () => {
    const device = await createDevice(root, 'unlinked-1')
    cloud.dps.enrollments.put({
      registrationId: device.id,
      attestation: { primary: device.certificate },
      iotHubHostName: 'hub-z.azure-devices.net',
    })
    await expect(register(cloud, device)).rejects.toMatchObject({ name: 'ArgumentError' })
  })

  it('a disabled enrollment, as 401 or as a status', async () => {
    const device = await createDevice(root, 'disabled-1')
    const entry = {
      registrationId: device.id,
      attestation: { primary: device.certificate },
      provisioningStatus: 'disabled' as const,
    }
    cloud.dps.enrollments.put(entry)
    await expect(register(cloud, device)).rejects.toMatchObject(unauthorized)
    await withCloud({ disabledEnrollment: 'status-disabled' }, async (other) => {
      other.dps.enrollments.put(entry)
      const attempt = other.waitFor('registration')
      await expect(register(other, device)).rejects.toThrow('status is disabled')
      expect((await attempt).outcome).toBe('disabled')
    })
  })

  it('by the answer that a fault asks for, as often as it says', async () => {
    const device = await createDevice(root, 'fault-1')
    cloud.dps.refuseNext({ status: 404, errorCode: 404201, message: 'No such thing – really' }, 2)
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await expect(register(cloud, device)).rejects.toMatchObject({
        name: 'DeviceNotFoundError',
        result: { message: 'No such thing – really' },
      })
    }
    expect(await register(cloud, device)).toMatchObject({ status: 'assigned' })
  })
})

describe('throttled', () => {
  it('makes the SDK come back after the delay that DPS asks for', async () => {
    const device = await createDevice(root, 'throttled-1')
    cloud.dps.refuseNext({ status: 429, errorCode: 429001, retryAfter: 0 }, 2)
    expect(await register(cloud, device)).toMatchObject({ status: 'assigned' })
    expect(cloud.dps.attempts.filter(({ registrationId }) => registrationId === device.id)).toHaveLength(1)
  })
})

describe('reprovisioning', () => {
  it('keeps the device on its hub, replaces the thumbprint and leaves the session alone', async () => {
    const [first, second] = await Promise.all([createDevice(root, 'keep-1'), createDevice(root, 'keep-1')])
    const { assignedHub } = await register(cloud, first)
    const { generationId } = cloud.hub(assignedHub).registry.get(first.id) ?? {}
    const client = await deviceClient(cloud, assignedHub, first)
    await client.open()
    expect(await register(cloud, second)).toMatchObject({ assignedHub })
    expect(cloud.hub(assignedHub).registry.get(first.id)).toMatchObject({
      connectionState: 'Connected',
      generationId,
    })
    await client.close()
    const late = await deviceClient(cloud, assignedHub, first)
    await expect(late.open()).rejects.toMatchObject({ name: 'UnauthorizedError' })
  })

  it('cuts the session where the cloud is set so', async () => {
    await withCloud({ onRecordReplaced: 'cut-session' }, async (other) => {
      other.dps.groups.put({ enrollmentGroupId: 'cut', attestation: { primary: root.certificate } })
      const [first, second] = await Promise.all([createDevice(root, 'cut-1'), createDevice(root, 'cut-1')])
      const { assignedHub } = await register(other, first)
      const client = await deviceClient(other, assignedHub, first)
      await client.open()
      await register(other, first)
      expect(other.hub(assignedHub).registry.get(first.id)?.connectionState).toBe('Connected')
      const gone = other.waitFor('deviceDisconnected')
      await register(other, second)
      expect((await gone).reason).toContain('The device record was replaced.')
    })
  })

  it.each([
    [true, 'deviceDataMigrated', 5],
    [false, 'deviceDataReset', undefined],
  ])('moves the device to another hub (migrate: %s)', async (migrateDeviceData, substatus, interval) => {
    const device = await createDevice(root, `move-${substatus}`)
    const put = (iotHubHostName: string): void => {
      cloud.dps.enrollments.put({
        registrationId: device.id,
        attestation: { primary: device.certificate },
        iotHubHostName,
        reprovisionPolicy: { updateHubAssignment: true, migrateDeviceData },
      })
    }
    put('hub-a.azure-devices.net')
    await register(cloud, device)
    cloud.hub('hub-a').updateDesired(device.id, { interval: 5 })
    put('hub-b.azure-devices.net')
    expect(await register(cloud, device)).toMatchObject({
      assignedHub: 'hub-b.azure-devices.net',
      substatus,
    })
    expect(cloud.hub('hub-a').registry.get(device.id)).toBeUndefined()
    expect(cloud.hub('hub-b').twin(device.id).desired['interval']).toBe(interval)
  })

  it('keeps the first hub where the policy says never', async () => {
    const device = await createDevice(root, 'never-1')
    const put = (iotHubHostName: string): void => {
      cloud.dps.enrollments.put({
        registrationId: device.id,
        attestation: { primary: device.certificate },
        iotHubHostName,
        reprovisionPolicy: { updateHubAssignment: false, migrateDeviceData: false },
      })
    }
    put('hub-a.azure-devices.net')
    await register(cloud, device)
    put('hub-b.azure-devices.net')
    expect(await register(cloud, device)).toMatchObject({ assignedHub: 'hub-a.azure-devices.net' })
  })

  it('makes a new device record where the old one was deleted', async () => {
    const device = await createDevice(root, 'recreated-1')
    const { assignedHub } = await register(cloud, device)
    const { registry } = cloud.hub(assignedHub)
    const before = registry.get(device.id)
    registry.delete(device.id)
    expect(await register(cloud, device)).toMatchObject({ assignedHub })
    expect(registry.get(device.id)?.generationId).not.toBe(before?.generationId)
  })

  it('begins anew where the registration was deleted', async () => {
    const device = await createDevice(root, 'forgotten-1')
    await register(cloud, device)
    expect(cloud.dps.registrations.list().map(({ registrationId }) => registrationId)).toContain(device.id)
    expect(cloud.dps.registrations.delete('FORGOTTEN-1')).toBe(true)
    expect(await register(cloud, device)).toMatchObject({ substatus: 'initialAssignment' })
  })

  it('spreads devices over the hubs, each always to the same', async () => {
    const ids = Array.from({ length: 12 }, (_, index) => `spread-${String(index)}`)
    const devices = await Promise.all(ids.map(async (id) => createDevice(root, id)))
    const hubs = await Promise.all(devices.map(async (device) => (await register(cloud, device)).assignedHub))
    expect(new Set(hubs).size).toBe(2)
    const again = await Promise.all(
      devices.map(async (device) => (await register(cloud, device)).assignedHub),
    )
    expect(again).toEqual(hubs)
  })
})

describe('entries', () => {
  it('refuse what is no certificate, no authority, or in another entry already', async () => {
    const { enrollments, groups } = cloud.dps
    const device = await createDevice(root, 'entry-1')
    const cases: [() => unknown, number][] = [
      [() => enrollments.put({ registrationId: 'e-1', attestation: {} }), 400],
      [() => enrollments.put({ registrationId: 'e-1', attestation: { primary: 'nonsense' } }), 400],
      [() => enrollments.put({ registrationId: 'e/1', attestation: { primary: device.certificate } }), 400],
      [() => groups.put({ enrollmentGroupId: 'g-1', attestation: { primary: device.certificate } }), 400],
      [() => groups.put({ enrollmentGroupId: 'g-1', attestation: { primary: root.certificate } }), 409],
    ]
    for (const [act, status] of cases) expect(act).toThrow(expect.objectContaining({ status }) as Error)
    enrollments.put({ registrationId: device.id, attestation: { primary: device.certificate } })
    expect(() =>
      enrollments.put({ registrationId: 'entry-2', attestation: { secondary: device.certificate } }),
    ).toThrow('entry-1')
    expect(enrollments.get('ENTRY-1')).toMatchObject({ provisioningStatus: 'enabled' })
    expect(enrollments.delete('Entry-1')).toBe(true)
    expect(enrollments.list().some(({ registrationId }) => registrationId === device.id)).toBe(false)
  })
})
