// The vault with the one secret that there is: the mail provider's key (SendGrid) or password (SMTP).
param name string
param location string
param tags object
param secretName string
@secure()
@description('Empty: what the vault has stays.')
param mailKey string

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 7
    publicNetworkAccess: 'Enabled'
  }
}

resource secret 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(mailKey)) {
  parent: vault
  name: secretName
  properties: {
    value: mailKey
    contentType: 'the mail provider\'s key'
  }
}
