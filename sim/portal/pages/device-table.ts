import type { SimulatedCloud } from '../../cloud.ts'
import type { DeviceAuthentication, DeviceRecord } from '../../hub/device-record.ts'
import { html, type Html } from '../html.ts'
import { enabled, state, thumbprint } from '../marks.ts'
import { table } from '../table.ts'
import type { DeviceHistories } from '../timeline/device-histories.ts'
import { hubName } from '../words.ts'

/** A device on one of the hubs. */
export interface HubDevice {
  readonly hub: string
  readonly record: DeviceRecord
}

/** The devices of all hubs. */
export function hubDevices(cloud: SimulatedCloud): readonly HubDevice[] {
  return cloud.hubs.flatMap(({ hostName, registry }) =>
    registry.list().map((record) => ({ hub: hostName, record })),
  )
}

/** Where the page of a device is. */
export function devicePath(deviceId: string): string {
  return `/devices/${encodeURIComponent(deviceId)}`
}

/** A table of the devices of all hubs. */
export function deviceTable(cloud: SimulatedCloud, histories: DeviceHistories): Html {
  return table(
    'Devices',
    [
      ['Device', ({ record: { deviceId } }) => html`<a href="${devicePath(deviceId)}">${deviceId}</a>`],
      ['Hub', ({ hub }) => hubName(hub)],
      ['Connection', ({ record }) => connection(record)],
      ['Status', ({ record }) => enabled(record.status)],
      ['Thumbprint', ({ record }) => proof(record.authentication)],
      ['Messages', ({ record: { deviceId } }) => histories.of(deviceId).messages],
    ],
    hubDevices(cloud),
    'No hub has a device yet: devices come here when DPS assigns them.',
  )
}

/** Whether a device is connected. */
export function connection({ connectionState }: DeviceRecord): Html {
  return state(connectionState, connectionState === 'Connected' ? 'good' : 'plain')
}

/** By what a hub knows a device. */
export function proof({ type, x509Thumbprint }: DeviceAuthentication): Html {
  switch (type) {
    case 'selfSigned':
      return thumbprint(x509Thumbprint.primaryThumbprint)
    case 'certificateAuthority':
      return html`by its authority`
    case 'sas':
      return html`by a key`
  }
}
