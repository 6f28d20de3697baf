// Azure Communication Services, for EMAIL_PROVIDER acs: the service, and the domain that mails come from.
param name string
param tags object
@description('Where mails are kept at rest, such as Europe or Canada.')
param dataLocation string
@description('A domain of your own; empty: none.')
param domain string
@description('Whether Azure has seen that it is yours: no other can be linked.')
param isVerified bool

resource service 'Microsoft.Communication/emailServices@2023-04-01' = {
  name: name
  location: 'global'
  tags: tags
  properties: { dataLocation: dataLocation }
}

// One that Azure makes, for trying things out, and until your own is verified.
resource azures 'Microsoft.Communication/emailServices/domains@2023-04-01' = if (!isVerified) {
  parent: service
  name: 'AzureManagedDomain'
  location: 'global'
  tags: tags
  properties: {
    domainManagement: 'AzureManaged'
    userEngagementTracking: 'Disabled'
  }
}

resource yours 'Microsoft.Communication/emailServices/domains@2023-04-01' = if (!empty(domain)) {
  parent: service
  name: empty(domain) ? 'none' : domain
  location: 'global'
  tags: tags
  properties: {
    domainManagement: 'CustomerManaged'
    userEngagementTracking: 'Disabled'
  }
}

// Each deployment says anew which domain is linked; without one no mail would go out.
resource communication 'Microsoft.Communication/communicationServices@2023-04-01' = {
  name: name
  location: 'global'
  tags: tags
  properties: {
    dataLocation: dataLocation
    linkedDomains: [isVerified ? yours.id : azures.id]
  }
}

output endpoint string = 'https://${communication.properties.hostName}'
output senderDomain string = isVerified ? domain : azures!.properties.mailFromSenderDomain
