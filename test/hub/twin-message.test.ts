import { describe, expect, it } from 'vitest'
import { twinMessage } from '../../src/hub/twin-message.ts'

const message = (topic: string, text: string): { topic: string; payload: Buffer } => ({
  topic,
  payload: Buffer.from(text),
})
const desired = '$iothub/twin/PATCH/properties/desired/?$version=3'

describe('what the official transport is shown of the twin', () => {
  it.each([
    [desired, '{"a":1,"$version":3}'],
    ['$iothub/twin/res/200/?$rid=r', '{"desired":{},"reported":{}}'],
    ['$iothub/twin/res/204/?$rid=r&$version=4', ''],
  ])('%s with %j as it came', (topic, text) => {
    const came = message(topic, text)
    expect(twinMessage(came)).toBe(came)
  })

  it.each([
    [desired, 'no JSON'],
    [desired, ''],
    [desired, '[1]'],
    [desired, 'null'],
    ['$iothub/twin/res/abc/?$rid=r', '{}'],
    ['$iothub/twin/res/200', '{}'],
    ['$iothub/methods/POST/blink/?$rid=1', '{}'],
    ['devices/gateway-7/messages/devicebound/', 'text'],
  ])('%s with %j not at all', (topic, text) => {
    expect(twinMessage(message(topic, text))).toBeUndefined()
  })

  it.each([
    ['429', '{"errorCode":429001,"message":"slow down"}', 429, 'the hub answered 429: slow down'],
    ['500', '', 500, 'the hub answered 500: no reason given'],
    ['400', '<html>', 400, 'the hub answered 400: it is not JSON'],
    ['200', 'no JSON', 200, 'the hub answered 200: it is not JSON'],
  ])('an answer %s with %j as a failure it understands', (status, text, errorCode, said) => {
    const shown = twinMessage(message(`$iothub/twin/res/${status}/?$rid=r`, text))
    expect(JSON.parse(shown?.payload.toString() ?? '')).toEqual({ errorCode, message: said })
  })
})
