/** The properties of a message that Azure itself knows. */
export interface SystemProperties {
  readonly messageId?: string
  readonly correlationId?: string
  readonly userId?: string
  readonly to?: string
  readonly expiryTimeUtc?: string
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly interfaceId?: string
  readonly componentName?: string
  readonly outputName?: string
}

/** Properties of a message, as they stand in its topic. */
export interface PropertyBag {
  readonly properties: Readonly<Record<string, string>>
  readonly systemProperties: SystemProperties
}

const systemNames: Readonly<Record<string, keyof SystemProperties>> = {
  '$.mid': 'messageId',
  '$.cid': 'correlationId',
  '$.uid': 'userId',
  '$.to': 'to',
  '$.exp': 'expiryTimeUtc',
  '$.ct': 'contentType',
  '$.ce': 'contentEncoding',
  '$.ifid': 'interfaceId',
  '$.sub': 'componentName',
  '$.on': 'outputName',
}

/** Reads `%24.mid=1&colour=blue`. @throws URIError when a percent sign begins no character */
export function parsePropertyBag(text: string): PropertyBag {
  const application: [string, string][] = []
  const system: [string, string][] = []
  for (const pair of text === '' ? [] : text.split('&')) {
    const equals = pair.indexOf('=')
    const key = decodeURIComponent(equals < 0 ? pair : pair.slice(0, equals))
    const value = equals < 0 ? '' : decodeURIComponent(pair.slice(equals + 1))
    const systemName = key.startsWith('$.') ? systemNames[key] : undefined
    if (systemName === undefined) application.push([key, value])
    else system.push([systemName, value])
  }
  // fromEntries makes own properties, whatever they are called.
  return { properties: Object.fromEntries(application), systemProperties: Object.fromEntries(system) }
}

const topicNames: Readonly<Partial<Record<string, string>>> = Object.fromEntries(
  Object.entries(systemNames).map(([topicName, name]) => [name, topicName]),
)

/** Writes properties as they stand in a topic; {@link parsePropertyBag} reads them. */
export function formatPropertyBag(
  properties: Readonly<Record<string, string>>,
  systemProperties: SystemProperties,
): string {
  const system = Object.entries(systemProperties).map(([name, value]: [string, string]) => [
    topicNames[name] ?? name,
    value,
  ])
  return [...system, ...Object.entries(properties)]
    .map(([key = '', value = '']) => `${encodeURIComponent(key)}=${encodeURIComponent(value)}`)
    .join('&')
}
