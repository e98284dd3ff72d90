import { expect, test } from 'vitest'
import type { DeviceMessage } from '../../src/hub/hub-transport.ts'
import { measure, telemetryOf } from '../../src/hub/telemetry-message.ts'

const invalid = expect.objectContaining({ code: 'MESSAGE_INVALID' }) as unknown
const kib = 1024

test.each<[string, DeviceMessage, number]>([
  ['nothing', { body: '' }, 0],
  ['text, as UTF-8', { body: '21 °C' }, 6],
  ['bytes', { body: new Uint8Array(10) }, 10],
  ['a part of a buffer', { body: new Uint8Array(10).subarray(2, 5) }, 3],
  ['the largest body', { body: 'x'.repeat(256 * kib) }, 256 * kib],
  ['a property, as it is encoded', { body: '', properties: { a: 'ä' } }, 1 + 6 + 2],
  ['a message id', { body: '', messageId: 'abc' }, '%24.mid'.length + 3 + 2],
])('%s counts', (_what, message, size) => {
  expect(measure(message)).toBe(size)
})

test.each<[string, unknown]>([
  ['a body that is too large', { body: 'x'.repeat(256 * kib + 1) }],
  ['a body that is too large with its properties', { body: 'x'.repeat(256 * kib), properties: { a: 'b' } }],
  ['properties that are too large', { body: '', properties: { a: 'b'.repeat(8 * kib) } }],
  ['a property without a name', { body: '', properties: { '': 'b' } }],
  ['a property with the name of a system property', { body: '', properties: { '$.mid': 'b' } }],
  ['a property that is not text', { body: '', properties: { a: 1 } }],
  ['a property that is not Unicode', { body: '', properties: { a: '\ud800' } }],
  ['an empty message id', { body: '', messageId: '' }],
  ['a long message id', { body: '', messageId: 'x'.repeat(129) }],
  ['a body that is an object', { body: { t: 21 } }],
  ['no body', {}],
])('%s cannot be sent', (_what, message) => {
  expect(() => measure(message as DeviceMessage)).toThrow(invalid)
})

test('bytes stay bytes, and do not fill the debug log of the SDK', () => {
  const body = new Uint8Array([0, 1, 2, 3]).subarray(1, 3)
  const telemetry = telemetryOf({ messageId: '1', body })
  expect(Buffer.isBuffer(telemetry.data) && [...telemetry.data]).toEqual([1, 2])
  expect(JSON.stringify(telemetry.data)).toBe('"2 bytes"')
})
